#Requires -Version 5.1
#Requires -RunAsAdministrator
<#
.SYNOPSIS
Removes the service of the EMS agent and its program.

.DESCRIPTION
Mitigations stay in place, and so do the state and the logs, unless -RevertMitigations or -RemoveState say otherwise. An agent that
is installed later goes on with them. Revoke the identity of the server in the cluster as well:
kubectl mitigation enroll --revoke --remove POOL/SERVER.

.PARAMETER RevertMitigations
Takes back what the agent changed on this server before it goes. The server is then without the protection.

.PARAMETER RemoveState
Deletes C:\ProgramData\EMS with journal, credential, trust policy and logs. Without -RevertMitigations what is in place then stays
for people to take back by hand.

.PARAMETER StateDir
Folder of the state, if the agent was installed with another one than C:\ProgramData\EMS\state.

.EXAMPLE
.\Uninstall-EmsAgent.ps1 -RevertMitigations -RemoveState

.NOTES
Version v0.0.0-dev
#>
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'High')]
param(
    [switch] $RevertMitigations,
    [switch] $RemoveState,

    [ValidateNotNullOrEmpty()]
    [string] $StateDir
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$serviceName = 'EMSAgent'
$programDir = Join-Path $env:ProgramFiles 'EMS'
$program = Join-Path $programDir 'ems-agent.exe'
$dataDir = Join-Path $env:ProgramData 'EMS'

if (Get-Service -Name $serviceName -ErrorAction SilentlyContinue) {
    if ($PSCmdlet.ShouldProcess($serviceName, 'stop the service')) {
        & $program service stop
        if ($LASTEXITCODE -ne 0) { throw "ems-agent service stop: exit code $LASTEXITCODE" }
    }
}
if ($RevertMitigations -and $PSCmdlet.ShouldProcess($env:COMPUTERNAME, 'take back all mitigations')) {
    $arguments = @('local', 'revert')
    if ($StateDir) { $arguments += "-state-dir=$StateDir" }
    & $program @arguments
    if ($LASTEXITCODE -ne 0) { throw "ems-agent local revert: exit code $LASTEXITCODE; nothing was removed" }
}
if (Get-Service -Name $serviceName -ErrorAction SilentlyContinue) {
    if ($PSCmdlet.ShouldProcess($serviceName, 'remove the service')) {
        & $program service uninstall
        if ($LASTEXITCODE -ne 0) { throw "ems-agent service uninstall: exit code $LASTEXITCODE" }
    }
}
if ((Test-Path -LiteralPath $programDir) -and $PSCmdlet.ShouldProcess($programDir, 'remove the program')) {
    Remove-Item -LiteralPath $programDir -Recurse -Force
}
if ($RemoveState -and (Test-Path -LiteralPath $dataDir) -and $PSCmdlet.ShouldProcess($dataDir, 'remove state and logs')) {
    Remove-Item -LiteralPath $dataDir -Recurse -Force
    if ($StateDir -and (Test-Path -LiteralPath $StateDir)) { Remove-Item -LiteralPath $StateDir -Recurse -Force }
}
