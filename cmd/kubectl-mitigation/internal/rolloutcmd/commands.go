package rolloutcmd

import "mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"

// Commands are the verbs below "rollout".
func Commands() []cli.Command {
	return []cli.Command{
		{Name: "rollout status", Arguments: "[ID]", Optional: true, Summary: "show how far mitigations have come, who fails, and what to do; exit code 0 complete, 1 halted or aborted, 3 still moving", Bind: bindStatus},
		{Name: "rollout history", Arguments: "[ID]", Optional: true, Summary: "show who did what, when and why, of all pools by time", Bind: bindHistory},
		{Name: "rollout pause", Arguments: "[ID]", Optional: true, Summary: "begin no further stage", Bind: bindVerb(pauseVerb)},
		{Name: "rollout resume", Arguments: "[ID]", Optional: true, Summary: "take a pause back", Bind: bindResume},
		{Name: "rollout promote", Arguments: "ID", Summary: "go on to the next stage, whatever gate, approval, window and failures say", Bind: bindVerb(promoteVerb)},
		{Name: "rollout abort", Arguments: "ID", Summary: "take back a revision that is being rolled out", Bind: bindVerb(abortVerb)},
		{Name: "rollout undo", Arguments: "ID", Summary: "take back a revision, complete or not", Bind: bindVerb(undoVerb)},
		{Name: "rollout retry", Arguments: "ID", Summary: "begin a halted or aborted revision again at the first stage", Bind: bindVerb(retryVerb)},
	}
}
