module latchkey/bench

go 1.26.0

require latchkey/e2e v0.0.0

require latchkey v0.0.0 // indirect

replace (
	latchkey => ../
	latchkey/e2e => ../e2e
)
