package rewrite_test

import (
	"net/http"
	"testing"

	"mitigation.dev/ems/internal/rewrite"
)

// typicalRules are twenty rules as sites have them: what Microsoft shipped against holes of
// Exchange, blocks of private files and of bad clients, canonical names, and clean URLs.
const typicalRules = `
<rewriteMaps><rewriteMap name="Moved"><add key="/old" value="/new"/><add key="/imprint.asp" value="/imprint"/></rewriteMap></rewriteMaps>
<rules>
<rule name="EEMS M1.1 PowerShell - inbound" stopProcessing="true"><match url=".*"/><conditions><add input="{UrlDecode:{REQUEST_URI}}" pattern="(?=.*autodiscover)(?=.*powershell)"/></conditions><action type="AbortRequest"/></rule>
<rule name="X-AnonResource-Backend Abort - inbound"><match url="(?:^ecp/|^owa/).*"/><conditions><add input="{HTTP_COOKIE}" pattern="(.*)X-AnonResource-Backend(.*)"/></conditions><action type="AbortRequest"/></rule>
<rule name="X-BEResource Abort - inbound"><match url=".*"/><conditions><add input="{HTTP_COOKIE}" pattern="(.*)X-BEResource=(.+)/(.+)~(.+)"/></conditions><action type="AbortRequest"/></rule>
<rule name="jndi"><match url=".*"/><conditions logicalGrouping="MatchAny"><add input="{UrlDecode:{REQUEST_URI}}" pattern="\$\{jndi:"/><add input="{HTTP_USER_AGENT}" pattern="\$\{jndi:"/></conditions><action type="AbortRequest"/></rule>
<rule name="bad clients"><match url=".*"/><conditions><add input="{HTTP_USER_AGENT}" pattern="^(masscan|zgrab|sqlmap|nikto)"/></conditions><action type="CustomResponse" statusCode="403"/></rule>
<rule name="methods"><match url=".*"/><conditions><add input="{REQUEST_METHOD}" pattern="^(TRACE|TRACK|DEBUG)$"/></conditions><action type="CustomResponse" statusCode="405"/></rule>
<rule name="dot files"><match url="(^|/)\.(git|svn|hg|env)"/><action type="CustomResponse" statusCode="404"/></rule>
<rule name="configuration"><match url="\.(config|ini|bak|sql|log)$"/><action type="CustomResponse" statusCode="404"/></rule>
<rule name="vendor"><match url="^vendor/.*"/><action type="CustomResponse" statusCode="403"/></rule>
<rule name="traversal"><match url=".*"/><conditions><add input="{UNENCODED_URL}" pattern="%2e%2e(%2f|%5c)"/></conditions><action type="CustomResponse" statusCode="400"/></rule>
<rule name="moved"><match url=".*"/><conditions><add input="{Moved:{URL}}" pattern="(.+)"/></conditions><action type="Redirect" url="{C:1}"/></rule>
<rule name="https" stopProcessing="true"><match url="(.*)"/><conditions><add input="{HTTPS}" pattern="^OFF$"/></conditions><action type="Redirect" url="https://{HTTP_HOST}/{R:1}"/></rule>
<rule name="www" stopProcessing="true"><match url="(.*)"/><conditions><add input="{HTTP_HOST}" pattern="^example\.com$"/></conditions><action type="Redirect" url="https://www.example.com/{R:1}"/></rule>
<rule name="slash"><match url="^(.*[^/])/$"/><conditions><add input="{REQUEST_METHOD}" pattern="GET"/><add input="{URL}" pattern="^/shop/"/></conditions><action type="Redirect" url="{R:1}"/></rule>
<rule name="article"><match url="^article/([0-9]+)/([_0-9a-z-]+)"/><action type="Rewrite" url="article.aspx?id={R:1}&amp;title={R:2}"/></rule>
<rule name="blog"><match url="^blog/([_0-9a-z-]+)/([0-9]+)"/><action type="Redirect" url="article/{R:2}/{R:1}" redirectType="Found"/></rule>
<rule name="product"><match url="^product/([0-9]+)/?$"/><action type="Rewrite" url="product.aspx?id={R:1}"/></rule>
<rule name="images" patternSyntax="Wildcard"><match url="images/*_thumb.jpg"/><action type="Rewrite" url="thumb.aspx?name={R:1}"/></rule>
<rule name="maintenance" patternSyntax="ExactMatch"><match url="maintenance.htm"/><action type="None"/></rule>
<rule name="front controller"><match url="^app/(.*)$"/><conditions><add input="{URL}" pattern="\.(css|js|png)$" negate="true"/></conditions><action type="Rewrite" url="index.php/{R:1}"/></rule>
</rules>`

func BenchmarkTwentyRules(b *testing.B) {
	s := rewrite.NewSite(rewrite.Options{}, siteLevel(b, "<rewrite>"+typicalRules+"</rewrite>"))
	headers := http.Header{
		"User-Agent": {"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"},
		"Accept":     {"text/html"}, "Accept-Language": {"en-US"}, "Cookie": {"session=0123456789abcdef0123456789abcdef; theme=dark"},
	}
	for name, target := range map[string]string{
		"passes":             "/shop/basket.aspx?item=17&colour=blue",
		"passes, encoded":    "/owa/auth/logon.aspx?url=https%3a%2f%2fmail.example.com%2fowa%2f&reason=0",
		"is rewritten":       "/article/234/some-title?from=home",
		"is aborted":         "/autodiscover/autodiscover.json?@example.com/%50owerShell/",
		"passes, upper case": "/Shop/Basket.aspx?Item=17",
	} {
		b.Run(name, func(b *testing.B) {
			request := rewrite.SplitTarget(http.MethodGet, "www.example.com", target, headers)
			request.TLS = true
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Evaluate(request); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

// One request in ten is rewritten, one in fifty is an attack.
func BenchmarkTypicalTraffic(b *testing.B) {
	s := rewrite.NewSite(rewrite.Options{}, siteLevel(b, "<rewrite>"+typicalRules+"</rewrite>"))
	headers := http.Header{"User-Agent": {"Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/120.0.0.0 Safari/537.36"}, "Cookie": {"session=0123456789abcdef; theme=dark"}}
	requests := make([]rewrite.Request, 50)
	for i := range requests {
		target := []string{"/shop/basket.aspx?item=17&colour=blue", "/Shop/Images/Logo.png", "/owa/auth/logon.aspx?url=https%3a%2f%2fmail.example.com%2fowa%2f"}[i%3]
		switch {
		case i == 7:
			target = "/autodiscover/autodiscover.json?@example.com/%50owerShell/"
		case i%10 == 0:
			target = "/article/234/some-title"
		}
		requests[i] = rewrite.SplitTarget(http.MethodGet, "www.example.com", target, headers)
		requests[i].TLS = true
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if _, err := s.Evaluate(requests[n%len(requests)]); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

func BenchmarkNewSite(b *testing.B) {
	fragment := "<rewrite>" + typicalRules + "</rewrite>"
	b.ReportAllocs()
	for b.Loop() {
		rewrite.NewSite(rewrite.Options{}, siteLevel(b, fragment))
	}
}
