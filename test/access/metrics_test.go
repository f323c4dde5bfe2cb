package access_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"mitigation.dev/ems/controllers/scrape"
)

var _ = Describe("The manager's metrics", func() {
	It("are read over TLS, with a token whose user may", func(ctx context.Context) {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		address := listener.Addr().String()
		Expect(listener.Close()).To(Succeed())
		// The manager asks with the rights of its own ServiceAccount.
		config := withToken(tokenOf(ctx, manager, "ems-manager", ""))
		server, err := metricsserver.NewServer(scrape.Options{Address: address}.Server(), config, http.DefaultClient)
		Expect(err).NotTo(HaveOccurred())
		running, stop := context.WithCancel(context.WithoutCancel(ctx))
		done := make(chan error, 1)
		go func() { done <- server.Start(running) }()
		DeferCleanup(func() {
			stop()
			Eventually(done).WithTimeout(time.Minute).Should(Receive(BeNil()))
		})

		// It has signed its certificate itself.
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // see above
		get := func(scheme, token string) (int, error) {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+"/metrics", nil)
			Expect(err).NotTo(HaveOccurred())
			if token != "" {
				request.Header.Set("Authorization", "Bearer "+token)
			}
			response, err := client.Do(request)
			if err != nil {
				return 0, err
			}
			return response.StatusCode, response.Body.Close()
		}
		Eventually(get).WithArguments("https", "").Should(Equal(http.StatusUnauthorized), "anonymous")
		Expect(get("http", "")).To(Equal(http.StatusBadRequest), "without TLS")
		Expect(get("https", "forged")).To(Equal(http.StatusUnauthorized))
		Expect(get("https", tokenOf(ctx, ownPool, ownServer, ownServer+"-agent"))).To(Equal(http.StatusForbidden), "an agent")
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "prometheus", Namespace: otherPool}}
		Expect(env.Client.Create(ctx, account)).To(Succeed())
		reader := tokenOf(ctx, otherPool, account.Name, "")
		Expect(get("https", reader)).To(Equal(http.StatusForbidden), "before it has the role")
		bind(ctx, "", "ems-metrics-reader", rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Name: account.Name, Namespace: otherPool})
		// The refusal is remembered for a minute, by token: another one is asked about.
		Eventually(func() (int, error) { return get("https", tokenOf(ctx, otherPool, account.Name, "")) }).Should(Equal(http.StatusOK))
	})
})
