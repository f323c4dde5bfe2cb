// Package shard tells which manager works for which pool, where there are several.
//
// # Usage
//
//	mine, err := shard.Parse("europe")        // the flag --shard
//	if mine.Has(pool) { ... }                 // the label of a PoolMitigationConfig
//	cache.ByObject{Label: mine.Servers()}     // what of all PoolServers a manager keeps
//
// # Considerations
//
// The label of the pool decides, as sharding.fluxcd.io/key does in Flux: a person says where a pool belongs, and can see it. A hash of
// names would move pools whenever a manager is added.
//
// The manager without a name is the main one. It works for all pools without the label, and alone for what belongs to no pool.
package shard
