package vaulttest

import "strings"

// userpass is auth/userpass. Names have no case.
type userpass struct{ users map[string]*user }

type user struct {
	password string
	token    tokenParams
}

func newUserpass() *userpass { return &userpass{map[string]*user{}} }

func (*userpass) open() []string { return []string{"login/*"} }

func (u *userpass) serve(r *request) (*response, error) {
	return routes{
		{"login/{name}", map[operation]handler{opUpdate: u.login}},
		{"users", map[operation]handler{opList: func(*request) (*response, error) { return list(u.users, "") }}},
		{"users/{name}", map[operation]handler{opRead: u.read, opUpdate: u.write, opDelete: u.delete}},
	}.serve(r)
}

func (u *userpass) login(r *request) (*response, error) {
	name := strings.ToLower(r.params["name"])
	if r.str("password") == "" {
		return nil, badRequest("invalid credentials")
	}
	who := u.users[name]
	if who == nil || who.password != r.str("password") {
		return nil, badRequest("invalid username or password")
	}
	then := who.token.policies
	again := func(*request) (*tokenParams, error) {
		if now := u.users[name]; now != nil {
			return now.token.samePolicies(then)
		}
		return nil, nil
	}
	return r.login(who.token, name, r.displayName(name), map[string]string{"username": name}, again)
}

func (u *userpass) read(r *request) (*response, error) {
	who := u.users[strings.ToLower(r.params["name"])]
	if who == nil {
		return nil, notFound()
	}
	return ok(who.token.show(Map{}))
}

func (u *userpass) write(r *request) (*response, error) {
	name := strings.ToLower(r.params["name"])
	who := u.users[name]
	if who == nil {
		who = &user{}
	}
	next := *who
	var err error
	if next.token, err = r.tokenParams(who.token); err != nil {
		return nil, err
	}
	if r.has("password") {
		next.password = r.str("password")
	}
	if next.password == "" {
		return nil, badRequest("\"password\" or \"password_hash\" must be supplied")
	}
	u.users[name] = &next
	return nil, nil
}

func (u *userpass) delete(r *request) (*response, error) {
	delete(u.users, strings.ToLower(r.params["name"]))
	return nil, nil
}
