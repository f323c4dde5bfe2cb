package harness

import (
	"mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/agent/iis/standin"
	"mitigation.dev/ems/internal/build"
	"mitigation.dev/ems/internal/ocs"
)

// Names on the servers that the mitigations below are made for.
const (
	Site    = ocs.DefaultTarget
	ECPPool = "MSExchangeECPAppPool"
	// ECPPath is the application that ECPPool serves.
	ECPPath = "/ecp"
	// HealthManager is the service that starts pools again when it finds them stopped.
	HealthManager = "MSExchangeHM"
)

// services are those of a server.
func services() []standin.ServiceEntry {
	return []standin.ServiceEntry{
		{Name: "MSExchangeADTopology", StartType: control.StartAutomatic, State: control.ServiceRunning},
		{Name: HealthManager, StartType: control.StartAutomatic, State: control.ServiceRunning, DependsOn: []string{"MSExchangeADTopology"}},
		{Name: "MSExchangeHMRecovery", StartType: control.StartAutomatic, State: control.ServiceRunning, DependsOn: []string{"MSExchangeADTopology"}},
		{Name: "MSExchangeUM", StartType: control.StartDelayed, State: control.ServiceRunning, DependsOn: []string{"MSExchangeADTopology"}},
	}
}

// Requests that M1 speaks of.
const (
	// ExploitRequest is the ProxyNotShell request in the form that slipped through the first published rule.
	ExploitRequest = "/autodiscover/autodiscover.json?%40evil.example/%50owerShell/"
	// HarmlessRequest is an ordinary one of the same application.
	HarmlessRequest = "/autodiscover/autodiscover.xml"
)

// Requests that OWA1 speaks of.
const (
	// OWAExploit is what it is made to block.
	OWAExploit = "/owa/evil.aspx"
	// OWAHealth is what a load balancer asks a server of Exchange.
	OWAHealth = "/owa/healthcheck.htm"
)

// VulnerableBuild is a build of Exchange Server 2019 that M1 is for.
const VulnerableBuild = "15.2.1118.15"

// m1Rewrite is the rule of M1 as Microsoft published it on 2022-10-07, its fifth form.
const m1Rewrite = `<rewrite>
      <rules>
        <rule name="PowerShell - inbound" stopProcessing="true">
          <match url=".*" />
          <conditions>
            <add input="{UrlDecode:{REQUEST_URI}}" pattern="(?=.*autodiscover)(?=.*powershell)" />
          </conditions>
          <action type="AbortRequest" />
        </rule>
      </rules>
    </rewrite>`

// PING1 is the mitigation that shows that mitigations arrive, and does nothing.
func PING1() ocs.Config {
	return ocs.Config{
		ID: "PING1", Description: "Shows that mitigations arrive", Severity: ocs.SeverityLow,
		Actions: []ocs.Action{{Type: ocs.DoNothing, Scope: ocs.ScopeServer, Value: ocs.ValueDoNothing}},
	}
}

// M1 is the mitigation of CVE-2022-41040 with the rule that Microsoft published and the builds that need it.
func M1() ocs.Config {
	return ocs.Config{
		ID: "M1", Description: "Blocks the request pattern of CVE-2022-41040 (ProxyNotShell)", Severity: ocs.SeverityCritical,
		CVEs:        []string{"CVE-2022-41040", "CVE-2022-41082"},
		SideEffects: []string{"Searches for both words, autodiscover and powershell, in Outlook on the web are aborted"},
		Applicability: []ocs.Product{{Name: ocs.ProductExchangeServer, Branches: []ocs.Branch{
			{From: build.Number{15, 1, 2375, 0}, FixedIn: build.Number{15, 1, 2375, 37}},
			{From: build.Number{15, 1, 2507, 0}, FixedIn: build.Number{15, 1, 2507, 16}},
			{From: build.Number{15, 2, 986, 0}, FixedIn: build.Number{15, 2, 986, 36}},
			{From: build.Number{15, 2, 1118, 0}, FixedIn: build.Number{15, 2, 1118, 20}},
		}}},
		Actions: []ocs.Action{{
			ID: "M1.1", Type: ocs.URLRewrite, Scope: ocs.ScopeSite, Target: Site,
			Description: "Aborts requests that name both", Rewrite: []byte(m1Rewrite),
		}},
		Samples: []ocs.Sample{
			{Expect: ocs.Blocked, Method: "GET", URL: "/autodiscover/autodiscover.json?@evil.example/PowerShell/"},
			{Expect: ocs.Blocked, Method: "GET", URL: ExploitRequest},
			{Expect: ocs.Passed, Method: "GET", URL: HarmlessRequest},
		},
	}
}

// OWA1 blocks one page of Outlook on the web. The rule of its first revision catches all of it, and the publisher's samples do
// not show that; the second one is right.
func OWA1(revision int64) ocs.Config {
	pattern := `^owa/`
	if revision > 1 {
		pattern = `^owa/evil\.aspx$`
	}
	return ocs.Config{
		ID: "OWA1", Revision: revision, Description: "Blocks a page of Outlook on the web", Severity: ocs.SeverityCritical,
		Applicability: []ocs.Product{{Name: ocs.ProductExchangeServer}},
		Actions: []ocs.Action{{
			ID: "OWA1.1", Type: ocs.URLRewrite, Scope: ocs.ScopeSite, Target: Site, Description: "Aborts requests for the page",
			Rewrite: []byte(`<rewrite><rules><rule name="OWA" stopProcessing="true"><match url="` + pattern + `" /><action type="AbortRequest" /></rule></rules></rewrite>`),
		}},
		Samples: []ocs.Sample{
			{Expect: ocs.Blocked, Method: "GET", URL: OWAExploit},
			{Expect: ocs.Passed, Method: "GET", URL: HarmlessRequest},
		},
	}
}

// ECP1 takes the Exchange control panel off the network by stopping its application pool, as the mitigations of 2021 did.
func ECP1() ocs.Config {
	return ocs.Config{
		ID: "ECP1", Description: "Stops the Exchange control panel", Severity: ocs.SeverityImportant,
		CVEs:          []string{"CVE-2021-27065"},
		SideEffects:   []string{"The Exchange admin center answers 503"},
		Applicability: []ocs.Product{{Name: ocs.ProductExchangeServer}},
		Actions: []ocs.Action{{
			Type: ocs.AppPool, Scope: ocs.ScopeServer, Target: ECPPool, Value: ocs.ValueStopped, Description: "Stops the pool of the control panel",
		}},
	}
}
