package rolloutcmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"
)

// newTTY returns both ends of a terminal of 80 columns and 24 lines.
func newTTY() (master, terminal *os.File) {
	GinkgoHelper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		Skip("this machine has no terminals: " + err.Error())
	}
	DeferCleanup(master.Close)
	Expect(unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)).To(Succeed())
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	Expect(err).NotTo(HaveOccurred())
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(terminal.Close)
	Expect(unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})).To(Succeed())
	return master, terminal
}

var _ = Describe("rollout status on a terminal", func() {
	It("is drawn in place, and leaves the terminal as it was", func(ctx SpecContext) {
		namespace := env.Namespace(ctx)
		user := newTerminal(env.Config, namespace)
		p := newPool(namespace, "web", 10)
		p.create(ctx)
		master, terminal := newTTY()
		seen := &output{}
		go func() { _, _ = io.Copy(seen, master) }() // until the terminal is closed
		enough, interrupt := context.WithCancel(ctx)
		defer interrupt()
		code := make(chan int, 1)
		go func() {
			defer GinkgoRecover()
			code <- user.start(enough, terminal, &output{}, "rollout", "status", "M1", "--watch")
		}()
		Eventually(seen.String).WithTimeout(20 * time.Second).Should(And(HavePrefix("\x1b[?25l"), ContainSubstring("stage 1 of 4, first"), ContainSubstring("\x1b[33m")))
		p.stage(2, "tenth", 0).counts(2, 1, 0).write(ctx)
		Eventually(seen.String).WithTimeout(20 * time.Second).Should(MatchRegexp(`\x1b\[\d+A\r[^A]*\n[^A]*stage 2 of 4, tenth`))
		requests := len(user.seen())
		interrupt()
		Eventually(code).WithTimeout(20 * time.Second).Should(Receive(Equal(3)))
		Eventually(seen.String).WithTimeout(5 * time.Second).Should(HaveSuffix("\x1b[?25h"))
		// Two lists and watches, the global configuration, and what a change asks for: nothing is polled.
		Expect(requests).To(BeNumerically("<=", 8), "%v", user.seen())
	})
})
