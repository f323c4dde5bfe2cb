package access_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"mitigation.dev/ems/test/testenv"
)

var update = flag.Bool("update", false, "write what is allowed to docs/reference/access.md instead of comparing it")

// compare holds what is allowed against a section of the page, or writes it there.
func compare(section, found string) {
	file := filepath.Join(testenv.Root(), "docs", "reference", "access.md")
	text, err := os.ReadFile(file)
	Expect(err).NotTo(HaveOccurred())
	begin, end := fmt.Sprintf("<!-- begin %s -->\n", section), fmt.Sprintf("<!-- end %s -->", section)
	before, rest, ok := strings.Cut(string(text), begin)
	Expect(ok).To(BeTrue(), "the page needs the line %q", begin)
	documented, after, ok := strings.Cut(rest, end)
	Expect(ok).To(BeTrue(), "the page needs the line %q", end)
	if *update {
		Expect(os.WriteFile(file, []byte(before+begin+found+end+after), 0o644)).To(Succeed())
		return
	}
	Expect(found).To(Equal(documented), "what %s may do is not what docs/reference/access.md says", section)
}

var _ = Describe("The matrix of rights", Ordered, func() {
	var (
		cells    []cell
		everyone []cell
		// plain is what was found for each section.
		plain = map[string][]cell{}
	)
	BeforeAll(func(ctx context.Context) {
		resources := served()
		cells = cellsOf(resources)
		By(fmt.Sprintf("%d resources and subresources, %d cells", len(resources), len(cells)))
		Expect(len(cells)).To(BeNumerically(">", 1000), "the API server has far more to try")
		nobody := metav1.ObjectMeta{Name: "nobody", Namespace: metav1.NamespaceDefault}
		Expect(env.Client.Create(ctx, &corev1.ServiceAccount{ObjectMeta: nobody})).To(Succeed())
		everyone = matrix(ctx, withToken(tokenOf(ctx, nobody.Namespace, nobody.Name, "")), cells)
		Expect(everyone).NotTo(BeEmpty())
	})

	It("gives a ServiceAccount without a role what Kubernetes gives every one", func() {
		compare("everyone", table(everyone))
	})

	DescribeTable("says what each identity may do", func(ctx context.Context, section string, config func(context.Context) *rest.Config) {
		found := matrix(ctx, config(ctx), cells)
		plain[section] = found
		compare(section, table(withoutThose(found, everyone)))
	},
		Entry("an agent", "agent", func(ctx context.Context) *rest.Config { return agentOf(ctx, ownPool, ownServer) }),
		Entry("an agent that is enrolling", "agent", func(ctx context.Context) *rest.Config {
			return withToken(tokenOf(ctx, ownPool, ownServer, ownServer+"-bootstrap"))
		}),
		Entry("a pool operator", "pool operator", func(context.Context) *rest.Config { return env.User("operator") }),
		Entry("who enrols", "enroller", func(context.Context) *rest.Config { return env.User("enroller") }),
		Entry("a viewer", "viewer", func(context.Context) *rest.Config { return env.User("viewer") }),
		Entry("an administrator", "admin", func(context.Context) *rest.Config { return env.User("admin") }),
		Entry("the manager", "manager", func(ctx context.Context) *rest.Config { return withToken(tokenOf(ctx, manager, "ems-manager", "")) }),
	)

	It("says what client certificates add", func(ctx context.Context) {
		install(ctx, "certificates")
		bind(ctx, "", "ems-agent-certificates", rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:serviceaccounts:" + ownPool})
		configs := map[string]*rest.Config{
			"agent": agentOf(ctx, ownPool, ownServer), "enroller": env.User("enroller"), "manager": withToken(tokenOf(ctx, manager, "ems-manager", "")),
		}
		for _, section := range slices.Sorted(maps.Keys(configs)) {
			Expect(plain).To(HaveKey(section), "what it may do without them is found by the specs before")
			compare(section+" with client certificates", table(withoutThose(matrix(ctx, configs[section], cells), plain[section])))
		}
	})

	It("lets an agent neither look into the API server nor be somebody else", func(ctx context.Context) {
		agent := agentOf(ctx, ownPool, ownServer)
		for _, path := range []string{"/metrics", "/logs/", "/debug/pprof/", "/configz"} {
			Expect(status(ctx, agent, path)).To(Equal(403), path)
		}
		for _, as := range []string{"system:serviceaccount:" + ownPool + ":" + otherServer, "system:serviceaccount:" + manager + ":ems-manager", "admin"} {
			other := rest.CopyConfig(agent)
			other.Impersonate.UserName = as
			Expect(status(ctx, other, "/api/v1/namespaces/"+ownPool+"/secrets")).To(Equal(403), as)
		}
	})
})
