package facts

import (
	"errors"
	"fmt"

	"golang.org/x/sys/windows/registry"
)

// Registry reads the setup of Exchange Server. A server without it has no facts, which is no error.
func Registry() (Facts, error) {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, ExchangeSetupKey, registry.QUERY_VALUE)
	if errors.Is(err, registry.ErrNotExist) {
		return Facts{}, nil
	}
	if err != nil {
		return Facts{}, fmt.Errorf("facts: registry key %s: %w", ExchangeSetupKey, err)
	}
	defer func() { _ = key.Close() }()
	var numbers [4]uint64
	for i, name := range SetupValues {
		number, _, err := key.GetIntegerValue(name)
		if err != nil {
			return Facts{}, fmt.Errorf("facts: registry key %s: value %s: %w", ExchangeSetupKey, name, err)
		}
		numbers[i] = number
	}
	return fromSetup(numbers), nil
}
