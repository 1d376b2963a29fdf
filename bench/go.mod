module latchkey/bench

go 1.26.0

require latchkey/e2e v0.0.0

require (
	github.com/aws/aws-sdk-go-v2 v1.47.7
	github.com/aws/smithy-go v1.28.8 // indirect
	latchkey v0.0.0
)

replace (
	latchkey => ../
	latchkey/e2e => ../e2e
)
