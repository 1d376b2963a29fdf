package cases

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

var _ = add(map[string]func(*Kit){
	"a sink that cannot be written, though templates can": sinkUnwritable,
	"one sink that fails keeps no other from its token":   sinkOthers,
	"a sink's mode":                            sinkMode,
	"a wrapped sink holds a token to unwrap":   sinkWrapped,
	"a wrapped sink without the policy for it": sinkWrapDenied,
	"a sealed sink is read by its consumer":    sinkSealed,
	"a sealed and wrapped sink, with its AAD":  sinkSealedWrapped,
	"a sealed sink whose reader left no key":   sinkSealedNoKey,
	"a sink on standard output":                sinkStdout,
})

func sinkTo(path string, more ...string) string {
	return "sink \"file\" {\n" + strings.Join(more, "\n") + "\n config = { path = \"" + path + "\" }\n}\n"
}

func (k *Kit) plainLogin(sinks ...string) string {
	k.Helper()
	method := k.approle(m{"token_policies": "default"}, "remove_secret_id_file_after_reading = false")
	return auto(append([]string{method}, sinks...)...)
}

func sinkUnwritable(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	r := k.Exits(6, k.Once(k.login(sinkTo("nowhere/token"))+k.template("app", "{{.Data.data.password}}")))
	k.Says(r, `latchkey: .*nowhere/token`)
	k.soon(r)
	k.Is("app", canary+"1")
}

func sinkOthers(k *Kit) {
	k.Shared()
	if err := os.Mkdir(filepath.Join(k.Dir, "dir"), 0o700); err != nil {
		k.Fatal(err)
	}
	r := k.Exits(6, k.Once(k.plainLogin(sinkTo("nowhere/token"), sinkTo("dir"), fileSink)))
	k.soon(r)
	k.goodToken("token")
}

func sinkMode(k *Kit) {
	k.Shared()
	k.Exits(0, k.Once(k.plainLogin(fileSink, "sink \"file\" {\n config = {\n path = \"open\"\n mode = 0664\n }\n}\n")))
	for name, want := range map[string]os.FileMode{"token": 0o640, "open": 0o664} {
		fi, err := os.Stat(filepath.Join(k.Dir, name))
		if err != nil || fi.Mode().Perm() != want {
			k.Errorf("%s: %v %v, want %o", name, fi.Mode(), err, want)
		}
	}
}

// wrapInfo decodes what a wrapped sink holds: one line of JSON.
func (k *Kit) wrapInfo(name string) m {
	k.Helper()
	text := k.Read(name)
	if !strings.HasSuffix(text, "}\n") || strings.Count(text, "\n") != 1 {
		k.Errorf("%s is not one line: %q", name, text)
	}
	return k.wrapInfoOf([]byte(text))
}

func (k *Kit) wrapInfoOf(text []byte) m {
	k.Helper()
	var info m
	if err := json.Unmarshal(text, &info); err != nil {
		k.Fatal(err)
	}
	for _, key := range []string{"token", "accessor", "ttl", "creation_time", "creation_path", "wrapped_accessor"} {
		if _, there := info[key]; !there {
			k.Errorf("no %s in the wrap info", key)
		}
	}
	return info
}

func sinkWrapped(k *Kit) {
	k.Shared()
	k.Exits(0, k.Once(k.plainLogin(sinkTo("token", `wrap_ttl = "90s"`))))
	info := k.wrapInfo("token")
	if info["creation_path"] != "sys/wrapping/wrap" || info["ttl"] != 90.0 {
		k.Errorf("wrap info: %v %v", info["creation_path"], info["ttl"])
	}
	k.unwrapsToAToken(info)
}

func (k *Kit) unwrapsToAToken(info m) {
	k.Helper()
	ans := k.Site.As(info["token"].(string)).OK("PUT", "sys/wrapping/unwrap", nil)
	if got := k.Site.As(ans.Str("data.token")).Do("GET", "auth/token/lookup-self", nil); got.Status != 200 {
		k.Errorf("the unwrapped token: %d", got.Status)
	}
}

func sinkWrapDenied(k *Kit) {
	k.Shared()
	k.Site.Policy(k.name, map[string][]string{"nothing": {"read"}})
	cfg := auto(k.approle(m{"token_policies": []string{k.name}, "token_no_default_policy": true}), sinkTo("token", `wrap_ttl = "90s"`), sinkTo("plain"))
	r := k.Exits(4, k.Once(cfg))
	k.Says(r, `sys/wrapping/wrap`)
	k.soon(r)
	k.Missing("token")
	k.Read("plain")
}

func (k *Kit) consumerKey() *ecdh.PrivateKey {
	k.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		k.Fatal(err)
	}
	data, err := json.Marshal(map[string][]byte{"curve25519_public_key": key.PublicKey().Bytes()})
	if err != nil {
		k.Fatal(err)
	}
	k.Write("dh", string(data))
	return key
}

// open is the consumer's side, written from the documented format alone.
func (k *Kit) open(key *ecdh.PrivateKey, name string, derive bool, aad string) []byte {
	k.Helper()
	var envelope struct {
		Public  []byte `json:"curve25519_public_key"`
		Nonce   []byte `json:"nonce"`
		Payload []byte `json:"encrypted_payload"`
	}
	if err := json.Unmarshal([]byte(k.Read(name)), &envelope); err != nil {
		k.Fatal(err)
	}
	peer, err := ecdh.X25519().NewPublicKey(envelope.Public)
	if err != nil {
		k.Fatal(err)
	}
	secret, err := key.ECDH(peer)
	if err != nil {
		k.Fatal(err)
	}
	if derive {
		low, high := key.PublicKey().Bytes(), envelope.Public
		if string(low) > string(high) {
			low, high = high, low
		}
		if secret, err = hkdf.Key(sha256.New, secret, low, string(high), 32); err != nil {
			k.Fatal(err)
		}
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		k.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		k.Fatal(err)
	}
	plain, err := gcm.Open(nil, envelope.Nonce, envelope.Payload, []byte(aad))
	if err != nil {
		k.Fatalf("%s cannot be opened: %v", name, err)
	}
	return plain
}

func sinkSealed(k *Kit) {
	k.Shared()
	key := k.consumerKey()
	k.Exits(0, k.Once(k.plainLogin(
		sinkTo("raw", `dh_type = "curve25519"`, `dh_path = "dh"`),
		sinkTo("derived", `dh_type = "curve25519"`, `dh_path = "dh"`, `derive_key = true`, `aad = "for you"`))))
	k.Write("a", string(k.open(key, "raw", false, "")))
	k.Write("b", string(k.open(key, "derived", true, "for you")))
	k.goodToken("a")
	k.Is("b", k.Read("a"))
}

func sinkSealedWrapped(k *Kit) {
	k.Shared()
	key := k.consumerKey()
	k.Write("latchkey.hcl", k.plainLogin(sinkTo("token", `wrap_ttl = "5m"`, `dh_type = "curve25519"`, `dh_path = "dh"`, `aad = "not this"`, `aad_env_var = "SINK_AAD"`)))
	k.Exits(0, k.RunWith([]string{"SINK_AAD=this"}, "once", "-config=latchkey.hcl", "-log-level=trace"))
	plain := k.open(key, "token", false, "this")
	if !strings.HasSuffix(string(plain), "}\n") {
		k.Errorf("the plaintext does not end with its line break")
	}
	k.unwrapsToAToken(k.wrapInfoOf(plain))
}

func sinkSealedNoKey(k *Kit) {
	k.Shared()
	r := k.Exits(6, k.Once(k.plainLogin(sinkTo("token", `dh_type = "curve25519"`, `dh_path = "dh"`), sinkTo("plain")), "-timeout=3s"))
	k.Says(r, `dh`)
	k.Missing("token")
	k.goodToken("plain")
}

func sinkStdout(k *Kit) {
	k.Shared()
	k.Speaks = true
	r := k.Exits(0, k.Once(k.plainLogin(fileSink, "sink \"stdout\" {}\n")))
	if strings.TrimSpace(r.Stdout) != k.Read("token") {
		k.Errorf("stdout is not the token but %q", r.Stdout)
	}
}
