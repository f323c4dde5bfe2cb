-- Made from config/argocd/health.lua by "make generate": change that file.
-- Health of the objects of EMS for Argo CD. One script for all kinds: obj is the object, the result a table with status and message.
-- Only the basic functions of Lua are used: Argo CD runs scripts of argocd-cm without the libraries for strings, numbers and times.

local function answer(status, message)
  return { status = status, message = message }
end

local status = obj.status or {}
local conditions = status.conditions or {}

local function condition(name)
  for _, c in ipairs(conditions) do
    if c.type == name then
      return c
    end
  end
  return nil
end

-- What people switched off by policy: nothing fails and nothing is on its way, but nobody is protected by it either.
local function switchedOff()
  local spec = obj.spec or {}
  local summary = status.summary or {}
  local rollout = spec.rollout or {}
  if spec.suspend == "Revert" or summary.mode == "Suspended" then
    return "mitigations are suspended: none is in place"
  end
  if spec.mitigations == "Disabled" or summary.mode == "Disabled" then
    return "mitigations are disabled"
  end
  if spec.polling == "Disabled" then
    return "polling is disabled"
  end
  if rollout.progress == "Paused" then
    return "rollouts are held"
  end
  return nil
end

-- Warnings that change nothing by themselves, such as Fresh or TrustAnchorsCurrent, follow the message of Ready.
local function withWarnings(message)
  for _, c in ipairs(conditions) do
    if c.status == "False" and c.type ~= "Ready" then
      message = message .. "; " .. c.type .. ": " .. c.message
    end
  end
  return message
end

if obj.metadata.deletionTimestamp ~= nil then
  return answer("Progressing", "being deleted")
end

local ready = condition("Ready")
if ready == nil then
  return answer("Progressing", "nobody has looked at it yet")
end
if status.observedGeneration ~= nil and status.observedGeneration ~= obj.metadata.generation then
  return answer("Progressing", "the newest change has not been looked at yet")
end

local stalled = condition("Stalled")
if stalled ~= nil and stalled.status == "True" then
  -- A person is asked, as the rollout wants it: nothing is wrong.
  if stalled.reason == "AwaitingApproval" then
    return answer("Suspended", stalled.message)
  end
  return answer("Degraded", stalled.message)
end

local reconciling = condition("Reconciling")
if reconciling ~= nil and reconciling.status == "True" then
  if reconciling.reason == "RolloutPaused" then
    return answer("Suspended", reconciling.message)
  end
  return answer("Progressing", reconciling.message)
end

if ready.status ~= "True" then
  return answer("Progressing", ready.message)
end

local off = switchedOff()
if off ~= nil then
  return answer("Suspended", withWarnings(off .. "; " .. ready.message))
end
return answer("Healthy", withWarnings(ready.message))
