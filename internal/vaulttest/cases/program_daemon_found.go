//go:build unix

package cases

import (
	"fmt"
	"time"
)

var _ = add(map[string]func(*Kit){
	"daemon: a user whose policies change":                userChanges,
	"daemon: a token of a certificate is renewed with it": certRenewed,
})

// certRenewed: the server wants to see the certificate at each renewal.
func certRenewed(k *Kit) {
	k.Use(k.Target.Secure(k.T))
	ca := newCA(k.T, "clients")
	k.Site.EnableAuth(k.name, "cert")
	k.Site.OK("POST", "auth/"+k.name+"/certs/app", m{"certificate": string(ca.PEM), "token_policies": "default", "token_ttl": "3s"})
	d := k.Daemon(auto(k.certMethod(ca), fileSink)).Ready()
	first := k.alive("token")
	k.Until("the token is renewed", func() bool {
		ans := k.Site.As(first).Do("GET", "auth/token/lookup-self", nil)
		return ans.Status == 403 || ans.At("data.last_renewal") != nil
	})
	k.For(4*time.Second, func() { k.alive("token") })
	if k.Read("token") != first {
		k.Error("the token was replaced instead of renewed")
	}
	d.Stops()
}

// userChanges: the server refuses to renew with 500 and 204, and a login gives
// what is right from then on. The sink has a good token at every moment.
func userChanges(k *Kit) {
	k.Shared()
	k.Site.EnableAuth(k.name, "userpass")
	user := "auth/" + k.name + "/users/ann"
	k.Site.OK("POST", user, m{"password": canary + "pw", "token_policies": "default", "token_ttl": "4s"})
	k.Write("password", canary+"pw\n")
	d := k.Daemon(auto(k.method("userpass", `username = "ann"`, `password_file_path = "password"`), fileSink)).Ready()
	first := k.alive("token")
	k.Site.OK("POST", user, m{"token_policies": "default,more", "token_ttl": "1h"})
	k.Soon("there is a token with the new policies", func() bool { return k.alive("token") != first })
	policies := fmt.Sprint(k.goodToken("token").At("data.policies"))
	if policies != "[default more]" {
		k.Errorf("the new token has %s", policies)
	}
	k.calm(3, "PUT", "auth/"+k.name+"/login/ann")
	k.calm(8, "PUT", "auth/token/renew-self")
	d.Stops()
}
