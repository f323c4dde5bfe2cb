package effective

import (
	"fmt"
	"testing"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/test/iistree"
)

// keptFiles reads each file once, as the agent does with files that have not changed.
type keptFiles struct {
	folders
	kept map[string]*File
}

func (k keptFiles) Read(name, section string) (*File, error) {
	if f := k.kept[name+section]; f != nil {
		return f, nil
	}
	f, err := k.folders.Read(name, section)
	if err == nil {
		k.kept[name+section] = f
	}
	return f, err
}

// BenchmarkResolve looks at a server with 2,000 sites: a rule of one site, and a rule of every site.
func BenchmarkResolve(b *testing.B) {
	var options iistree.Options
	for i := range 2000 {
		options.Sites = append(options.Sites, iistree.Site{Name: fmt.Sprintf("Site %d", i), Port: 8000 + i, Pool: "DefaultAppPool"})
	}
	for name, target := range map[string]string{"one site": "Site 1000", "every site": ""} {
		b.Run(name, func(b *testing.B) {
			wanted, err := apphost.ReadContent([]byte(block), target, "EMS M1.1")
			if err != nil {
				b.Fatal(err)
			}
			config, err := apphost.Parse(iistree.Config(options))
			if err != nil {
				b.Fatal(err)
			}
			done, _, err := config.Render(wanted)
			if err != nil {
				b.Fatal(err)
			}
			files := keptFiles{folders: folders{hostPath: string(done.Data()), siteRoot: rules(`<rule name="a" />`)}, kept: map[string]*File{}}
			view := View{Host: hostPath, Redirection: redirect, Files: files}
			b.ReportAllocs()
			for b.Loop() {
				if got := Resolve(view, []Target{{ID: "M1", Content: wanted}})[0]; got.Status != True {
					b.Fatalf("%+v", got)
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	var options iistree.Options
	for i := range 2000 {
		options.Sites = append(options.Sites, iistree.Site{Name: fmt.Sprintf("Site %d", i), Port: 8000 + i, Pool: "DefaultAppPool"})
	}
	data := iistree.Config(options)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(hostPath, data, ""); err != nil {
			b.Fatal(err)
		}
	}
}
