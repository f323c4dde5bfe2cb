package enroll

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// Enrollment is what is printed of a server that was enrolled.
type Enrollment struct {
	Namespace string `json:"namespace"`
	Pool      string `json:"pool"`
	Server    string `json:"server"`
	HostName  string `json:"hostName,omitempty"`
	// ExpiryTime is until when the string can be used.
	ExpiryTime time.Time `json:"expiryTime"`
	// Token is the enrolment string.
	Token string `json:"token"`
	// Commands are what to run on the server.
	Commands InstallCommands `json:"commands"`
}

// InstallCommands make a server a member of its pool and start its agent.
type InstallCommands struct {
	Windows string `json:"windows"`
	Linux   string `json:"linux"`
}

// commandsFor gives the string to the agent through a pipe: arguments are seen by every user of the server, and logged.
func commandsFor(server, hostName, text string) InstallCommands {
	arguments := "enroll -token -"
	if hostName != "" && shortName(hostName) != server {
		// The agent refuses a string for another name than that of its host, unless it is said.
		arguments += " -server " + server
	}
	return InstallCommands{
		Windows: `$a = "$env:ProgramFiles\EMS\ems-agent.exe"; '` + text + `' | & $a ` + arguments + `; if ($LASTEXITCODE -eq 0) { & $a service install --start }`,
		Linux:   `echo '` + text + `' | ems-agent ` + arguments + ` -state-dir /var/lib/ems-agent && systemctl enable --now ems-agent`,
	}
}

// print writes enrolments in the form of --output.
func printEnrollments(w io.Writer, list []Enrollment, form string) error {
	switch form {
	case "name":
		for _, e := range list {
			if _, err := fmt.Fprintf(w, "poolserver.ems.mitigation.dev/%s\n", e.Server); err != nil {
				return err
			}
		}
		return nil
	case "json", "yaml":
		if list == nil {
			list = []Enrollment{}
		}
		return printValue(w, list, form)
	}
	for i, e := range list {
		if i > 0 {
			fmt.Fprintln(w)
		}
		host := ""
		if e.HostName != "" {
			host = " (" + e.HostName + ")"
		}
		fmt.Fprintf(w, "# %s/%s%s in namespace %s. On the server, as administrator, once, before %s:\n", e.Pool, e.Server, host, e.Namespace, e.ExpiryTime.UTC().Format("2006-01-02 15:04:05Z"))
		fmt.Fprintf(w, "# Windows, in PowerShell\n%s\n# Linux\n%s\n", e.Commands.Windows, e.Commands.Linux)
	}
	return nil
}

// printValue writes JSON that people can read and shells can take strings from, or YAML.
func printValue(w io.Writer, value any, form string) error {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return err
	}
	if form == "json" {
		_, err := io.WriteString(w, text.String())
		return err
	}
	content, err := yaml.JSONToYAML([]byte(text.String()))
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	return err
}
