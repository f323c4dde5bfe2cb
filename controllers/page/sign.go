package page

// sign is what a state looks like: the name of a symbol and of a class of the style sheet. Each has a shape of its own, and a page writes
// its word beside it, so that nothing is said by colour alone.
type sign string

// The signs. The worst come first in signs.
const (
	signHalted  sign = "halted"  // a rollout stopped, or servers failed: a person has to act
	signFailed  sign = "failed"  // servers could not do what is wanted
	signBroken  sign = "broken"  // in place, and IIS does not run it; or a warning
	signSilent  sign = "silent"  // not heard of for a while
	signPaused  sign = "paused"  // a person holds it
	signWaiting sign = "waiting" // an approval, a ring or a window is waited for
	signMoving  sign = "moving"  // on its way
	signBlocked sign = "blocked" // policy keeps it off
	signAudit   sign = "audit"   // only looked at
	signHeld    sign = "held"    // left as it is
	signOff     sign = "off"     // not wanted any more
	signNone    sign = "none"    // there is nothing to say
	signOK      sign = "ok"      // protected
)

// signs in the order of how urgently somebody should look.
var signs = []sign{
	signHalted, signFailed, signBroken, signSilent, signPaused, signWaiting, signMoving, signBlocked, signAudit, signHeld, signOff, signNone, signOK,
}

var rankOfSign = func() map[sign]int {
	ranks := map[sign]int{}
	for i, s := range signs {
		ranks[s] = i
	}
	return ranks
}()

func (s sign) rank() int { return rankOfSign[s] }

// worse is the more urgent of two signs.
func worse(a, b sign) sign {
	if b.rank() < a.rank() {
		return b
	}
	return a
}
