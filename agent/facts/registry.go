package facts

import "fmt"

// ExchangeSetupKey is the key below HKEY_LOCAL_MACHINE in which the setup of Exchange Server 2013 and later keeps its
// version; the health checker of the Exchange team reads the same values.
const ExchangeSetupKey = `SOFTWARE\Microsoft\ExchangeServer\v15\Setup`

// SetupValues are the names of the four numbers of the version, in order.
var SetupValues = [4]string{"MsiProductMajor", "MsiProductMinor", "MsiBuildMajor", "MsiBuildMinor"}

// fromSetup makes facts of the four numbers. A security update may leave them at those of its cumulative update; the
// server then looks older than it is and keeps a mitigation that it no longer needs, until the operator says the build.
func fromSetup(numbers [4]uint64) Facts {
	return Facts{Product: "ExchangeServer", Build: fmt.Sprintf("%d.%d.%d.%d", numbers[0], numbers[1], numbers[2], numbers[3])}
}
