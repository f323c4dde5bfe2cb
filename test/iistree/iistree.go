package iistree

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Paths inside a tree, with forward slashes.
const (
	ConfigDir   = "Windows/System32/inetsrv/config"
	ConfigFile  = ConfigDir + "/applicationHost.config"
	Redirection = ConfigDir + "/redirection.config"
	WebConfig   = "inetpub/wwwroot/web.config"
)

// Site is one site and its location block.
type Site struct {
	Name string
	Port int // of the http binding
	// Address of the http binding; default "*", every address of the server.
	Address string
	Pool    string // of the root application
	// Rewrite is put into the site's location, indented as it is; "" for a location without a rewrite section.
	Rewrite string
	// Applications are further applications, beside / and /owa.
	Applications []Application
	// NoLocation leaves the location block out.
	NoLocation bool
}

// Application is an application of a site.
type Application struct {
	Path string // such as "/ecp"
	Pool string
}

// Options describe a server.
type Options struct {
	Server    string   // host name, stands in the host header of the bindings; default "server1.contoso.example"
	Sites     []Site   // default: DefaultSites
	Pools     []string // default: DefaultPools
	CRLF      bool     // line ends as IIS writes them
	NoRewrite bool     // a server without the URL Rewrite module
}

// DefaultSites are the two sites of an Exchange server.
func DefaultSites() []Site {
	return []Site{
		{Name: "Default Web Site", Port: 80, Pool: "DefaultAppPool"},
		{Name: "Exchange Back End", Port: 81, Pool: "MSExchangeOWAAppPool"},
	}
}

// DefaultPools are application pools of an Exchange server. The last one carries autoStart="true", the others leave the
// attribute out.
func DefaultPools() []string {
	return []string{"DefaultAppPool", "MSExchangeOWAAppPool", "MSExchangeECPAppPool", "MSExchangeOABAppPool", "MSExchangeRestAppPool"}
}

func (o Options) withDefaults() Options {
	if o.Server == "" {
		o.Server = "server1.contoso.example"
	}
	if o.Sites == nil {
		o.Sites = DefaultSites()
	}
	if o.Pools == nil {
		o.Pools = DefaultPools()
	}
	return o
}

// Write makes the tree below dir, which need not exist.
func Write(dir string, o Options) error {
	files := map[string][]byte{
		ConfigFile:  Config(o),
		Redirection: o.lineEnds(redirection),
		WebConfig:   o.lineEnds(webConfig),
	}
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("iistree: %w", err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return fmt.Errorf("iistree: %w", err)
		}
	}
	return nil
}

// Config gives the bytes of applicationHost.config.
func Config(o Options) []byte {
	o = o.withDefaults()
	var b strings.Builder
	b.WriteString(header)
	if !o.NoRewrite {
		b.WriteString(rewriteSections)
	}
	b.WriteString(afterSections)
	for i, p := range o.Pools {
		autoStart := ""
		if i > 0 && i == len(o.Pools)-1 {
			autoStart = ` autoStart="true"`
		}
		fmt.Fprintf(&b, "            <add name=\"%s\"%s managedRuntimeVersion=\"v4.0\" managedPipelineMode=\"Integrated\">\n"+
			"                <processModel identityType=\"LocalSystem\" idleTimeout=\"00:00:00\" />\n            </add>\n", escape(p), autoStart)
	}
	b.WriteString(afterPools)
	for i, s := range o.Sites {
		address := s.Address
		if address == "" {
			address = "*"
		}
		site := fmt.Sprintf(siteFormat, escape(s.Name), i+1, escape(s.Pool), s.Port, escape(o.Server), escape(address))
		for _, a := range s.Applications {
			more := fmt.Sprintf(applicationFormat, escape(a.Path), escape(a.Pool), strings.ReplaceAll(escape(a.Path), "/", `\`))
			site = strings.Replace(site, bindings, more+bindings, 1)
		}
		b.WriteString(site)
	}
	b.WriteString(afterSites)
	if o.NoRewrite {
		b.WriteString(modules)
	} else {
		b.WriteString(strings.ReplaceAll(modules, "        </globalModules>",
			"            <add name=\"RewriteModule\" image=\"%SystemRoot%\\system32\\inetsrv\\rewrite.dll\" />\n        </globalModules>"))
	}
	b.WriteString(serverLocation(!o.NoRewrite))
	for _, s := range o.Sites {
		if !s.NoLocation {
			fmt.Fprintf(&b, locationFormat, escape(s.Name), s.Rewrite)
		}
	}
	b.WriteString("\n</configuration>\n")
	return o.lineEnds(b.String())
}

func (o Options) lineEnds(text string) []byte {
	if o.CRLF {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	return []byte(text)
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;").Replace(s)
}

func serverLocation(rewrite bool) string {
	if !rewrite {
		return strings.ReplaceAll(emptyLocation, "                <add name=\"RewriteModule\" />\n", "")
	}
	return emptyLocation
}
