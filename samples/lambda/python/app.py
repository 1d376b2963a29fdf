"""A function that takes a secret in each of the three ways that latchkey has:
a file, its environment, and Vault's API on localhost. Copy the one you want.
"""

import json
import os

import hvac

# No token: latchkey lends its own. Made once, used by every invocation.
vault = hvac.Client(url=os.environ.get("VAULT_ADDR", "http://127.0.0.1:8200"))


def from_file():
    """The file that VAULT_SECRET_PATH_DB and VAULT_SECRET_FILE_DB ask for.

    It is there before this module is loaded, and is replaced as a whole when the
    secret changes; so read it when it is needed, not once at the start.
    """
    name = os.environ.get("VAULT_SECRET_FILE_DB", "/tmp/vault/db.json")
    with open(name, encoding="utf-8") as f:
        # KV version 2 puts a secret into data.data; version 1 and most other
        # engines into data.
        return json.load(f)["data"]["data"]


def from_environment():
    """What AWS_LAMBDA_EXEC_WRAPPER=/opt/latchkey-exec put in place of
    vault:secret/data/app#username. It stays as it was at the start.
    """
    return {
        "username": os.environ["DB_USERNAME"],
        "password": os.environ["DB_PASSWORD"],
    }


def from_proxy():
    answer = vault.read("secret/data/app")
    return answer["data"]["data"]


def handler(event, context):
    """Answers with the user name that each way gave. A password is not for an
    answer or a log.
    """
    users = {}
    for way, get in {
        "file": from_file,
        "environment": from_environment,
        "proxy": from_proxy,
    }.items():
        credentials = get()
        if not credentials["password"]:
            raise ValueError(f"{way}: no password")
        users[way] = credentials["username"]
    return users
