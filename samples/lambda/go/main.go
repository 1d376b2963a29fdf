// A function that takes a secret in each of the three ways that latchkey has:
// a file, its environment, and Vault's API on localhost. Copy the one you want.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/hashicorp/vault/api"
)

// credentials are what the database asks for.
type credentials struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// fromFile reads the file that VAULT_SECRET_PATH_DB and VAULT_SECRET_FILE_DB ask
// for. It is there before this program starts, and is replaced as a whole when the
// secret changes; so read it when it is needed, not once at the start.
func fromFile() (c credentials, err error) {
	text, err := os.ReadFile(cmp.Or(os.Getenv("VAULT_SECRET_FILE_DB"), "/tmp/vault/db.json"))
	if err != nil {
		return c, err
	}
	// KV version 2 puts a secret into data.data; version 1 and most other engines
	// into data.
	var answer struct {
		Data struct {
			Data credentials `json:"data"`
		} `json:"data"`
	}
	err = json.Unmarshal(text, &answer)
	return answer.Data.Data, err
}

// fromEnvironment takes what AWS_LAMBDA_EXEC_WRAPPER=/opt/latchkey-exec put in
// place of vault:secret/data/app#username. It stays as it was at the start.
func fromEnvironment() (credentials, error) {
	return credentials{os.Getenv("DB_USERNAME"), os.Getenv("DB_PASSWORD")}, nil
}

// vault needs no token: latchkey lends its own. Made once, used by every
// invocation.
var vault = func() *api.Client {
	conf := api.DefaultConfig()
	conf.Address = cmp.Or(os.Getenv("VAULT_ADDR"), "http://127.0.0.1:8200")
	client, err := api.NewClient(conf)
	if err != nil {
		panic(err)
	}
	return client
}()

func fromProxy(ctx context.Context) (c credentials, err error) {
	secret, err := vault.KVv2("secret").Get(ctx, "app")
	if err != nil {
		return c, err
	}
	c.Username, _ = secret.Data["username"].(string)
	c.Password, _ = secret.Data["password"].(string)
	return c, nil
}

// handle answers with the user name that each way gave. A password is not for
// an answer or a log.
func handle(ctx context.Context) (map[string]string, error) {
	ways := map[string]func() (credentials, error){
		"file":        fromFile,
		"environment": fromEnvironment,
		"proxy":       func() (credentials, error) { return fromProxy(ctx) },
	}
	users := map[string]string{}
	for way, get := range ways {
		c, err := get()
		if err == nil && c.Password == "" {
			err = errors.New("no password")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", way, err)
		}
		users[way] = c.Username
	}
	return users, nil
}

func main() { lambda.Start(handle) }
