package cases

func leases(s *Script) {
	broker := NewBroker(s.tb)
	s.Mount("leases-mq", "rabbitmq", nil)
	s.Root("GET", "leases-mq/creds/r", nil)
	s.OK("POST", "leases-mq/config/connection", m{"connection_uri": broker.Addr, "username": "admin", "password": "admin"})
	s.Root("POST", "leases-mq/config/lease", m{"ttl": 600, "max_ttl": 1200})
	s.Root("POST", "leases-mq/roles/r", m{"tags": "none", "vhosts": `{"/":{"configure":"","write":"","read":".*"}}`})
	one := s.Root("GET", "leases-mq/creds/r", nil)
	s.Root("GET", "leases-mq/creds/r", nil)
	s.Root("GET", "leases-mq/creds/none", nil)
	s.Root("PUT", "leases-mq/creds/r", m{})
	id := one.Str("lease_id")
	s.Root("PUT", "sys/leases/lookup", m{"lease_id": id})
	s.Root("PUT", "sys/leases/renew", m{"lease_id": id, "increment": 900})
	s.Root("PUT", "sys/leases/renew", m{"lease_id": id, "increment": 9000})
	s.Root("PUT", "sys/leases/renew", m{"lease_id": "bad"})
	s.Root("PUT", "sys/leases/renew", m{})
	s.Root("PUT", "sys/leases/revoke", m{"lease_id": id, "sync": true})
	s.Root("PUT", "sys/leases/lookup", m{"lease_id": id})
	s.Root("PUT", "sys/leases/renew", m{"lease_id": id})
	s.Root("PUT", "sys/leases/revoke", m{"lease_id": id, "sync": true})
	s.Note("a token that goes takes its leases along")
	s.Policy("leases-read", map[string][]string{"leases-mq/creds/*": {"read"}})
	tok := s.NewToken(m{"policies": []string{"leases-read"}})
	theirs := s.Using(tok, "GET", "leases-mq/creds/r", nil).Str("lease_id")
	s.Using(tok, "PUT", "auth/token/revoke-self", nil)
	s.Eventually("the lease is gone", func() bool {
		return s.Do("PUT", "sys/leases/lookup", m{"lease_id": theirs}).Status == 400
	})
	s.Note("wrapped")
	w := s.Wrapped("60s", "GET", "leases-mq/creds/r", nil).Str("wrap_info.token")
	s.Using(w, "PUT", "sys/wrapping/unwrap", nil)
	s.Root("PUT", "sys/leases/revoke-prefix/leases-mq", nil)
}

// leaseIDs are where a request may have them.
func leaseIDs(s *Script) {
	broker := NewBroker(s.tb)
	s.Mount("ids-mq", "rabbitmq", nil)
	s.OK("POST", "ids-mq/config/connection", m{"connection_uri": broker.Addr, "username": "admin", "password": "admin"})
	s.OK("POST", "ids-mq/config/lease", m{"ttl": 600, "max_ttl": 1200})
	s.OK("POST", "ids-mq/roles/r", m{"vhosts": `{"/":{"configure":"","write":"","read":".*"}}`})
	fresh := func() string { return s.Root("GET", "ids-mq/creds/r", nil).Str("lease_id") }
	gone := func(id string) {
		s.Eventually("the lease is gone", func() bool {
			return s.Do("PUT", "sys/leases/lookup", m{"lease_id": id}).Status == 400
		})
	}
	id := fresh()
	s.Root("PUT", "sys/leases/renew/"+id, m{})
	s.Root("PUT", "sys/leases/revoke/"+id, m{"sync": true})
	gone(id)
	s.Root("PUT", "sys/leases/revoke/ids-mq/none", nil)
	s.Root("PUT", "sys/leases/revoke", m{})
	id = fresh()
	s.Root("PUT", "sys/leases/revoke-prefix/ids-mq/creds", m{"sync": true})
	gone(id)
	id = fresh()
	s.Root("PUT", "sys/leases/revoke-force/ids-mq/creds", nil)
	gone(id)
	s.Root("PUT", "sys/leases/revoke-prefix/ids-none", nil)
	s.Root("PUT", "sys/leases/revoke-force/ids-none", nil)
	s.Policy("ids-narrow", map[string][]string{"sys/leases/*": {"update"}})
	tok := s.NewToken(m{"policies": []string{"ids-narrow"}})
	s.Using(tok, "PUT", "sys/leases/revoke-prefix/ids-mq", nil)
	s.Using(tok, "PUT", "sys/leases/revoke-force/ids-mq", nil)
	s.Using(tok, "PUT", "sys/leases/revoke/ids-mq/none", nil)
}

func pki(s *Script) {
	s.Mount("pki-a", "pki", nil)
	s.Root("GET", "pki-a/cert/ca", nil)
	s.Root("PUT", "pki-a/issue/r", m{"common_name": "a.example.test"})
	s.OK("POST", "pki-a/root/generate/internal", m{"common_name": "Test Root", "ttl": "24h", "key_type": "ec", "key_bits": 256})
	s.Root("POST", "pki-a/roles/r", m{"allowed_domains": "example.test", "allow_subdomains": true, "max_ttl": "2h", "ttl": "1h", "key_type": "ec", "key_bits": 256})
	s.Root("GET", "pki-a/cert/ca", nil)
	s.Root("PUT", "pki-a/issue/r", m{"common_name": "a.example.test"})
	s.Root("POST", "pki-a/issue/r", m{"common_name": "a.example.test", "ttl": "30m", "alt_names": "b.example.test", "ip_sans": "127.0.0.1"})
	s.Root("PUT", "pki-a/issue/r", m{"common_name": "elsewhere.test"})
	s.Root("PUT", "pki-a/issue/r", m{"common_name": "a.example.test", "ttl": "99h"})
	s.Root("PUT", "pki-a/issue/r", m{})
	s.Root("PUT", "pki-a/issue/none", m{"common_name": "a.example.test"})
	s.Root("GET", "pki-a/issue/r", nil)
	s.Root("GET", "pki-a/ca/pem", nil)
}
