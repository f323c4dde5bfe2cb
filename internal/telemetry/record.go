package telemetry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/build"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/policy/fromapi"
)

// Record is what is sent of one server.
type Record struct {
	// ProductBuild is nil if the server has not told it.
	ProductBuild *ProductBuild `json:"productBuild"`
	// Mitigations is what administrators say.
	Mitigations State `json:"mitigations"`
	// DeviceID stands for the server. It is the same as long as the server's PoolServer is.
	DeviceID string `json:"deviceID"`
	// OrganizationID stands for the organisation and never changes.
	OrganizationID string `json:"organizationID"`
	// Applied and Blocked are ids of mitigations, sorted.
	Applied []string `json:"mitigationsApplied"`
	Blocked []string `json:"mitigationsBlocked"`
}

// ProductBuild is a product and its build.
type ProductBuild struct {
	Product emsv1.Product `json:"product"`
	Build   string        `json:"build"`
}

// State says whether mitigations are enabled, above the pool and in it.
type State struct {
	Organization emsv1.Switch `json:"organization"`
	Pool         emsv1.Switch `json:"pool"`
}

// Fleet is what records are made from. It is only read.
type Fleet struct {
	OrganizationID uuid.UUID
	Configurations []emsv1.MitigationConfiguration
	Pools          []emsv1.PoolMitigationConfig
	Plans          []emsv1.MitigationPlan
	Servers        []emsv1.PoolServer
}

// Takes reports whether the servers of a pool are part of diagnostic data.
func Takes(pool *emsv1.PoolMitigationConfig) bool { return pool.Spec.Telemetry != emsv1.Disabled }

// DeviceID is what stands for a server. Who does not know the UID of its PoolServer cannot find it out.
func DeviceID(organization uuid.UUID, server *emsv1.PoolServer) string {
	return uuid.NewSHA1(organization, []byte(server.UID)).String()
}

// Records makes a record of each server whose pool takes part, sorted by device. A server whose pool is not there takes no part,
// because nobody can say what the pool wants. The error says that the selector of a configuration cannot be used, which leaves
// unknown what administrators say.
func Records(f Fleet) ([]Record, error) {
	type pool struct {
		state   State
		known   map[string]string
		blocked []string
	}
	pools := make(map[string]*pool, len(f.Pools))
	for i := range f.Pools {
		p := &f.Pools[i]
		if !Takes(p) {
			continue
		}
		state, err := stateOf(p, f.Configurations)
		if err != nil {
			return nil, fmt.Errorf("pool %s/%s: %w", p.Namespace, p.Name, err)
		}
		pools[p.Namespace+"/"+p.Name] = &pool{state: state, known: map[string]string{}}
	}
	for i := range f.Plans {
		plan := &f.Plans[i]
		p := pools[plan.Namespace+"/"+plan.Name]
		if p == nil {
			continue
		}
		for j := range plan.Spec.Mitigations {
			m := &plan.Spec.Mitigations[j]
			p.known[fromapi.Key(m.ID)] = string(m.ID)
			if policy.Reason(m.Reason).Blocked() {
				p.blocked = append(p.blocked, string(m.ID))
			}
			for _, action := range m.BlockedActions {
				p.blocked = append(p.blocked, string(action))
			}
		}
	}
	var records []Record
	for i := range f.Servers {
		server := &f.Servers[i]
		p := pools[server.Namespace+"/"+server.Spec.PoolName]
		if p == nil || server.UID == "" {
			continue
		}
		record := Record{
			ProductBuild: productBuild(&server.Status.Facts), Mitigations: p.state,
			DeviceID: DeviceID(f.OrganizationID, server), OrganizationID: f.OrganizationID.String(),
		}
		blocked := slices.Clone(p.blocked)
		for j := range server.Status.Mitigations {
			m := &server.Status.Mitigations[j]
			id, known := p.known[fromapi.Key(m.ID)]
			switch {
			case !known:
			case m.State == emsv1.StateApplied:
				record.Applied = append(record.Applied, id)
			case policy.Reason(m.Reason).Blocked():
				blocked = append(blocked, id)
			}
		}
		record.Applied, record.Blocked = sorted(record.Applied), sorted(blocked)
		records = append(records, record)
	}
	slices.SortFunc(records, func(a, b Record) int { return cmp.Compare(a.DeviceID, b.DeviceID) })
	return records, nil
}

// stateOf tells whether mitigations are enabled for a pool: above it only if every configuration in scope says so.
func stateOf(pool *emsv1.PoolMitigationConfig, all []emsv1.MitigationConfiguration) (State, error) {
	scope, err := fromapi.InScope(pool, all)
	if err != nil {
		return State{}, err
	}
	state := State{Organization: emsv1.Enabled, Pool: emsv1.Enabled}
	for i := range scope {
		if scope[i].Spec.Mitigations == emsv1.Disabled {
			state.Organization = emsv1.Disabled
		}
	}
	if pool.Spec.Mitigations == emsv1.Disabled {
		state.Pool = emsv1.Disabled
	}
	return state, nil
}

var products = []emsv1.Product{emsv1.ExchangeServer, emsv1.SkypeForBusinessServer, emsv1.SharePointServer, emsv1.IISServer}

// productBuild is nil unless the server has told a product that there is, and a build that is one.
func productBuild(facts *emsv1.ServerFacts) *ProductBuild {
	number, err := build.Parse(facts.Build)
	if err != nil || !slices.Contains(products, facts.Product) {
		return nil
	}
	return &ProductBuild{Product: facts.Product, Build: number.String()}
}

// sorted is never nil: an empty list is an answer, too.
func sorted(ids []string) []string {
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a), strings.ToLower(b)), cmp.Compare(a, b))
	})
	return append([]string{}, slices.Compact(ids)...)
}
