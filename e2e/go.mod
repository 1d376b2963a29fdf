module latchkey/e2e

go 1.26.0

require latchkey v0.0.0

replace latchkey => ../
