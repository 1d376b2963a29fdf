// Package floors holds the laws of the house as tests, each with its reason
// beside it: which room may import which, which room alone may do a dangerous
// thing, how long a function that arranges a mode may be. It has no code of
// its own.
//
// A law that is in the way may be wrong. Change its table in the same commit as
// the code that needs the exception, and write the reason next to it.
package floors
