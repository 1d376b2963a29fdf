"""What the Python library hvac sends, by the means of Python itself."""

import json
import os
import urllib.error
import urllib.request

BASE = os.environ["VAULT_ADDR"]


def call(method, path, body=None, token=None, expect=200):
    # hvac's adapter: this header always, a token if it has one, JSON bodies, and
    # the headers of the requests library below it.
    headers = {
        "X-Vault-Request": "true",
        "User-Agent": "python-requests/2.32.3",
        "Accept-Encoding": "gzip, deflate",
        "Accept": "*/*",
        "Connection": "keep-alive",
    }
    if token:
        headers["X-Vault-Token"] = token
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(BASE + path, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            status, raw = answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        status, raw = refused.code, refused.read()
    assert status == expect, (method, path, status, raw)
    return json.loads(raw) if raw else {}


# client.secrets.kv.v2
call("POST", "/v1/proxy-kv/data/clients/py", {"options": {}, "data": {"a": "1"}})
read = call("GET", "/v1/proxy-kv/data/clients/py?version=1")
assert read["data"]["data"] == {"a": "1"}, read
assert "py" in call("LIST", "/v1/proxy-kv/metadata/clients")["data"]["keys"]
call("GET", "/v1/proxy-kv/data/clients/none", expect=404)
# client.auth.token
made = call("POST", "/v1/auth/token/create", {"ttl": "10m"})["auth"]["client_token"]
again = call("POST", "/v1/auth/token/create", {"ttl": "10m"})["auth"]["client_token"]
assert made == again
assert call("GET", "/v1/auth/token/lookup-self", token=made)["data"]["id"] == made
assert "id" not in call("GET", "/v1/auth/token/lookup-self")["data"]
call("POST", "/v1/auth/token/renew-self", {}, token=made)
call("POST", "/v1/auth/token/revoke-self", {}, token=made, expect=204)
assert call("POST", "/v1/auth/token/create", {"ttl": "10m"})["auth"]["client_token"] != made
# client.sys
call("GET", "/v1/sys/health")
lease = call("GET", "/v1/proxy-mq/creds/c")["lease_id"]
call("PUT", "/v1/sys/leases/renew", {"lease_id": lease, "increment": None})
call("PUT", "/v1/sys/leases/revoke", {"lease_id": lease}, expect=204)
assert call("GET", "/v1/proxy-mq/creds/c")["lease_id"] != lease
call("DELETE", "/v1/proxy-kv/metadata/clients/py", expect=204)
