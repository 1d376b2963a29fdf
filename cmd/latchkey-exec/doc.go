// Command latchkey-exec becomes the program that its arguments name, with an
// environment in which references to secrets are the secrets, and in which nothing
// of latchkey's own is left. AWS Lambda starts it before a function's runtime where
// AWS_LAMBDA_EXEC_WRAPPER names it.
//
// It fetches nothing itself: the extension, which has logged in, answers it over a
// socket. There is no shell anywhere. It links next to nothing, because the start of
// a function waits for it.
package main
