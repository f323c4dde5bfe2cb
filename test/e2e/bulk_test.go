package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/test/harness"
)

// EMS_ENROLL, such as 1000, is how many servers are enrolled.
var _ = Describe("A list of servers", Label("bulk"), func() {
	It("is enrolled at once, as often as it is given", func(ctx SpecContext) {
		number := 50
		if text := os.Getenv("EMS_ENROLL"); text != "" {
			var err error
			number, err = strconv.Atoi(text)
			Expect(err).NotTo(HaveOccurred())
		}
		pool := harness.Pool{Name: "many", Namespace: "pool-many", FQDN: "many.contoso.com"}
		Expect(env.AddPool(ctx, pool)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) {
			in := client.InNamespace(pool.Namespace)
			Expect(env.Client.DeleteAllOf(ctx, &emsv1.PoolServer{}, in)).To(Succeed())
			Expect(env.Client.DeleteAllOf(ctx, &emsv1.PoolMitigationConfig{}, in)).To(Succeed())
			Expect(env.Client.DeleteAllOf(ctx, &emsv1.MitigationPlan{}, in)).To(Succeed())
		})
		lines := []string{"pool,server,hostName"}
		for n := range number {
			lines = append(lines, fmt.Sprintf("many,web%04d,web%04d.contoso.com", n, n))
		}
		list := filepath.Join(GinkgoT().TempDir(), "servers.csv")
		write := func(lines []string) {
			Expect(os.WriteFile(list, []byte(strings.Join(lines, "\n")), 0o600)).To(Succeed())
		}
		enroll := func() (names map[string]string, said string, err error) {
			stdout, err := env.Kubectl.PluginOutput(ctx, env.Programs.Plugin, "enroll", "-n", pool.Namespace, "--file", list, "-o", "json")
			var enrolled []struct{ Server, Token string }
			if len(stdout) > 0 {
				Expect(json.Unmarshal(stdout, &enrolled)).To(Succeed())
			}
			names = map[string]string{}
			for _, e := range enrolled {
				names[e.Server] = e.Token
			}
			return names, fmt.Sprint(err), err
		}

		By("breaking a line in the middle")
		broken := append([]string(nil), lines...)
		broken[number/2] = "many,web_0001,"
		write(broken)
		_, said, err := enroll()
		Expect(err).To(HaveOccurred())
		Expect(said).To(ContainSubstring(fmt.Sprintf("line %d", number/2+1)))
		var servers emsv1.PoolServerList
		Expect(env.Client.List(ctx, &servers, client.InNamespace(pool.Namespace))).To(Succeed())
		Expect(servers.Items).To(BeEmpty(), "a list with a mistake changes nothing")

		By("correcting it")
		write(lines)
		before, begin := requests(ctx), time.Now()
		names, said, err := enroll()
		Expect(err).NotTo(HaveOccurred(), said)
		took, asked := time.Since(begin), requests(ctx)-before
		Expect(names).To(HaveLen(number))
		Expect(env.Client.List(ctx, &servers, client.InNamespace(pool.Namespace))).To(Succeed())
		Expect(servers.Items).To(HaveLen(number))
		AddReportEntry(fmt.Sprintf("%d servers enrolled", number), fmt.Sprintf("%.1f s, %.1f requests for each", took.Seconds(), asked/float64(number)))
		Expect(asked / float64(number)).To(BeNumerically("<", 16))

		By("giving it again")
		versions := map[string]string{}
		for _, s := range servers.Items {
			versions[s.Name] = string(s.UID)
		}
		begin = time.Now()
		again, said, err := enroll()
		Expect(err).NotTo(HaveOccurred(), said)
		Expect(again).To(HaveLen(number), "none has used its string yet, so each gets a new one")
		Expect(env.Client.List(ctx, &servers, client.InNamespace(pool.Namespace))).To(Succeed())
		Expect(servers.Items).To(HaveLen(number))
		for _, s := range servers.Items {
			Expect(versions).To(HaveKeyWithValue(s.Name, string(s.UID)))
		}
		AddReportEntry(fmt.Sprintf("the same %d servers again", number), fmt.Sprintf("%.1f s", time.Since(begin).Seconds()))
	}, NodeTimeout(8*limit))
})

// sample is a line of the API server's metrics about requests for what an enrolment makes.
var sample = regexp.MustCompile(`(?m)^apiserver_request_total\{.*resource="(poolservers|serviceaccounts|secrets|leases|rolebindings|poolmitigationconfigs)".*verb="(GET|POST|PATCH|APPLY|PUT|DELETE)".*\} ([0-9.e+]+)$`)

// requests is how often the API server was asked for what an enrolment makes, by its own count.
func requests(ctx context.Context) float64 {
	GinkgoHelper()
	sum := 0.0
	for _, m := range sample.FindAllStringSubmatch(kubectl(ctx, "get", "--raw", "/metrics"), -1) {
		value, err := strconv.ParseFloat(m[3], 64)
		Expect(err).NotTo(HaveOccurred())
		sum += value
	}
	return sum
}
