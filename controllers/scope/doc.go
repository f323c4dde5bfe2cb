// Package scope answers which MitigationConfigurations speak for a pool, for every controller in the same way.
package scope
