package access_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"mitigation.dev/ems/controllers"
	"mitigation.dev/ems/controllers/page"
)

// servePage runs a manager that serves the fleet page and nothing else, with the rights of its ServiceAccount, and returns the page's URL.
func servePage(ctx context.Context) string {
	GinkgoHelper()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	address := listener.Addr().String()
	Expect(listener.Close()).To(Succeed())
	mgr, err := ctrl.NewManager(withToken(tokenOf(ctx, manager, "ems-manager", "")), ctrl.Options{
		Scheme: controllers.Scheme(), Cache: controllers.CacheOptions(), Client: controllers.ClientOptions(), Metrics: metricsserver.Options{BindAddress: "0"},
	})
	Expect(err).NotTo(HaveOccurred())
	Expect(page.Options{Address: address}.Add(mgr)).To(Succeed())
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(running) }()
	DeferCleanup(func() {
		stop()
		Eventually(done).WithTimeout(time.Minute).Should(Receive(BeNil()))
	})
	return "https://" + address
}

// reader is a browser or a program in front of the page.
type reader struct{ *http.Client }

func newReader() reader {
	jar, err := cookiejar.New(nil)
	Expect(err).NotTo(HaveOccurred())
	// The manager has signed its certificate itself.
	return reader{&http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}} //nolint:gosec // see above
}

func (r reader) do(request *http.Request) (code int, text string, err error) {
	response, err := r.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

var _ = Describe("The fleet page", func() {
	It("is read over TLS by those who may, with a token or signed in", func(ctx context.Context) {
		fleet := servePage(ctx) + "/fleet"
		get := func(r reader, token string) (int, error) {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, fleet, nil)
			Expect(err).NotTo(HaveOccurred())
			if token != "" {
				request.Header.Set("Authorization", "Bearer "+token)
			}
			code, _, err := r.do(request)
			return code, err
		}
		signIn := func(r reader, token string) (int, string) {
			form := url.Values{"token": {token}, "next": {"/fleet/servers/" + ownPool + "/" + ownServer}}
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, fleet+"/signin", strings.NewReader(form.Encode()))
			Expect(err).NotTo(HaveOccurred())
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			code, text, err := r.do(request)
			Expect(err).NotTo(HaveOccurred())
			return code, text
		}
		program := newReader()
		Eventually(get).WithArguments(program, "").Should(Equal(http.StatusUnauthorized), "nobody")
		Expect(get(program, "forged")).To(Equal(http.StatusUnauthorized))
		Expect(get(program, tokenOf(ctx, ownPool, ownServer, ownServer+"-agent"))).To(Equal(http.StatusForbidden), "an agent")

		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "page-reader", Namespace: manager}}
		Expect(env.Client.Create(ctx, account)).To(Succeed())
		Expect(get(program, tokenOf(ctx, manager, account.Name, ""))).To(Equal(http.StatusForbidden), "before it has the role")
		bind(ctx, "", "ems-page-viewer", rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Name: account.Name, Namespace: manager})
		// The refusal is remembered for a minute, by token: another one is asked about.
		Eventually(func() (int, error) { return get(program, tokenOf(ctx, manager, account.Name, "")) }).Should(Equal(http.StatusOK))

		person := newReader()
		code, text := signIn(person, "forged")
		Expect(code).To(Equal(http.StatusUnauthorized))
		Expect(text).To(ContainSubstring("does not know this token"))
		code, text = signIn(person, tokenOf(ctx, manager, account.Name, ""))
		Expect(code).To(Equal(http.StatusOK))
		Expect(text).To(And(ContainSubstring("<h1 id=\"h-summary\">"+ownServer+"</h1>"), ContainSubstring(">"+manager+":page-reader<")))
		Expect(get(person, "")).To(Equal(http.StatusOK), "with the session alone")
		Expect(get(newReader(), "")).To(Equal(http.StatusUnauthorized), "without it")

		By("having the role that sees objects, whose users need no other")
		viewer := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "viewer", Namespace: manager}}
		Expect(env.Client.Create(ctx, viewer)).To(Succeed())
		bind(ctx, "", "ems-viewer", rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Name: viewer.Name, Namespace: manager})
		Eventually(func() (int, error) { return get(program, tokenOf(ctx, manager, viewer.Name, "")) }).Should(Equal(http.StatusOK))
	})
})
