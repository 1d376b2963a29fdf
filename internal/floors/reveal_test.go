package floors

import (
	"go/ast"
	"testing"
)

// reveals lists the files in which a secret may leave its cred.Redacted, and
// what for. Everything else handles it closed.
var reveals = map[string]string{
	"extension/environment.go":         "the values of variables go to who starts the function, over a socket for one user",
	"internal/auth/approle.go":         "the secret_id goes into the login's body",
	"internal/auth/aws/assume.go":      "the external id goes into the form of a request to AWS",
	"internal/auth/aws/chain.go":       "a pod's token goes into the form of a request to AWS",
	"internal/auth/aws/container.go":   "the endpoint's token goes into a header",
	"internal/auth/aws/ec2.go":         "the nonce goes into the login's body",
	"internal/auth/aws/http.go":        "to take secrets out of somebody else's words, they are searched for there",
	"internal/auth/aws/imds.go":        "the session's token goes into a header",
	"internal/auth/aws/sso.go":         "the token of a person's login goes into a header",
	"internal/auth/aws/static.go":      "keys go to the signer of the SDK, which takes them open",
	"internal/auth/aws/webidentity.go": "the JWT goes into the login's body",
	"internal/auth/jwt.go":             "the JWT goes into the login's body",
	"internal/auth/kubernetes.go":      "the service account's JWT goes into the login's body",
	"internal/auth/userpass.go":        "the password goes into the login's body",
	"internal/cache/capability.go":     "a token is hashed, to know its rights by",
	"internal/cache/family.go":         "a token is hashed, and its beginning says whether it is a batch token",
	"internal/cache/key.go":            "a token goes into the digest that is the key of an answer",
	"internal/cache/saved.go":          "a token goes into a record of the sealed store",
	"internal/cred/redacted.go":        "defines it, and compares in constant time",
	"internal/cred/spelling.go":        "a token holds its own shorter spelling",
	"internal/handover/seal.go":        "the token goes into the encrypted file",
	"internal/lease/save.go":           "a token that an answer carries goes into the store, which seals it",
	"internal/persist/handover.go":     "the token goes into the sealed file",
	"internal/secretfile/encode.go":    "a file holds an answer, and the token that came with it",
	"internal/sink/encode.go":          "a sink's file holds the token or the wrapping token",
	"internal/sink/wrapped.go":         "the token goes into the request's body to be wrapped",
	"internal/template/run.go":         "a template may ask for an answer's token, as the functions of the engine define it",
	"internal/template/scrub.go":       "to take the values out of an error, they are searched for in its text",
	"internal/vault/client.go":         "the token to unwrap goes into the request's body",
	"internal/vault/events.go":         "the token goes into the header of a subscription",
	"internal/vault/forward.go":        "the token that is lent goes into the header of a request that is passed on",
	"internal/vault/request.go":        "the token goes into the request's header",
	"internal/wiring/daemon.go":        "a rendered variable goes into the environment of the supervised process",
}

func TestSecretsAreRevealedOnlyWhereTheyLeave(t *testing.T) {
	seen := map[string]bool{}
	exists := map[string]bool{}
	for _, s := range allSources(t) {
		exists[s.path] = true
		ast.Inspect(s.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Reveal" {
				return true
			}
			seen[s.path] = true
			if reveals[s.path] == "" && s.product() {
				t.Errorf("%s reveals a secret: if it must leave here, add the file and the reason to reveal_test.go", s.at(sel))
			}
			return true
		})
	}
	for _, file := range keys(reveals) {
		if exists[file] && !seen[file] {
			t.Errorf("%s reveals nothing any more: take it off the list", file)
		}
	}
}
