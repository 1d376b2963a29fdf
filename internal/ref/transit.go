package ref

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

// transit is where ciphertext is decrypted, and how many values at once.
type transit struct {
	path, key string
	size      int
}

// decrypt is the request for a batch of ciphertext.
func (t transit) decrypt(batch []string) cred.Request {
	input := make([]any, len(batch))
	for i, c := range batch {
		input[i] = map[string]any{"ciphertext": c}
	}
	return cred.Request{Op: cred.OpWrite, Path: t.path + "/decrypt/" + t.key, Body: map[string]any{"batch_input": input}}
}

// plain is what became of one ciphertext.
type plain struct {
	text string
	err  error
}

// opened takes the answer to a batch apart. A batch that was refused for one of its
// values is asked for again value by value, so that the error is at its variable.
func (t transit) opened(ctx context.Context, r Reader, batch []string, res cred.Result, into map[string]plain) {
	if len(batch) > 1 && errors.Is(res.Err, vault.ErrBadRequest) {
		reqs := make([]cred.Request, len(batch))
		for i, c := range batch {
			reqs[i] = t.decrypt([]string{c})
		}
		for i, one := range r.ReadAll(ctx, reqs) {
			t.opened(ctx, r, batch[i:i+1], one, into)
		}
		return
	}
	for i, c := range batch {
		into[c] = unseal(res, i, len(batch))
	}
}

// unseal takes value i out of the answer to a batch of n.
func unseal(res cred.Result, i, n int) plain {
	if res.Err != nil {
		return plain{err: res.Err}
	}
	results, _ := res.Secret.Data["batch_results"].([]any)
	if len(results) != n {
		return plain{err: errors.New("the answer does not have a result for each value that was sent")}
	}
	one, _ := results[i].(map[string]any)
	if why, _ := one["error"].(string); why != "" {
		return plain{err: errors.New(why)}
	}
	coded, ok := one["plaintext"].(string)
	if !ok {
		return plain{err: errors.New("the answer has no plaintext")}
	}
	text, err := base64.StdEncoding.DecodeString(coded)
	if err != nil {
		return plain{err: errors.New("the plaintext in the answer is not base64")}
	}
	return plain{text: string(text)}
}

// batches are the distinct ciphertexts in groups of at most size.
func batches(texts []string, size int) [][]string {
	var out [][]string
	for len(texts) > size {
		out, texts = append(out, texts[:size]), texts[size:]
	}
	if len(texts) > 0 {
		out = append(out, texts)
	}
	return out
}

// object takes the body of a write apart; "" is one without fields. Its errors do
// not quote it.
func object(text string) (map[string]any, error) {
	body := map[string]any{}
	if strings.TrimSpace(text) == "" {
		return body, nil
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&body); err != nil || body == nil {
		return nil, errors.New("what is sent, after the second #, is no JSON object")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after the JSON object that is sent")
	}
	return body, nil
}
