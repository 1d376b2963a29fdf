// A function that takes a secret in each of the three ways that latchkey has:
// a file, its environment, and Vault's API on localhost. Copy the one you want.
import { readFile } from 'node:fs/promises';
import nodeVault from 'node-vault';

// No token: latchkey lends its own. Made once, used by every invocation.
const vault = nodeVault({
  endpoint: process.env.VAULT_ADDR ?? 'http://127.0.0.1:8200',
});

// The file that VAULT_SECRET_PATH_DB and VAULT_SECRET_FILE_DB ask for. It is there
// before this module is loaded, and is replaced as a whole when the secret
// changes; so read it when it is needed, not once at the start.
async function fromFile() {
  const name = process.env.VAULT_SECRET_FILE_DB ?? '/tmp/vault/db.json';
  const answer = JSON.parse(await readFile(name, 'utf8'));
  // KV version 2 puts a secret into data.data; version 1 and most other engines
  // into data.
  return answer.data.data;
}

// What AWS_LAMBDA_EXEC_WRAPPER=/opt/latchkey-exec put in place of
// vault:secret/data/app#username. It stays as it was at the start.
async function fromEnvironment() {
  return {
    username: process.env.DB_USERNAME,
    password: process.env.DB_PASSWORD,
  };
}

async function fromProxy() {
  const answer = await vault.read('secret/data/app');
  return answer.data.data;
}

// Answers with the user name that each way gave. A password is not for an answer
// or a log.
export async function handler() {
  const users = {};
  for (const [way, get] of Object.entries({
    file: fromFile,
    environment: fromEnvironment,
    proxy: fromProxy,
  })) {
    const credentials = await get();
    if (!credentials.password) {
      throw new Error(`${way}: no password`);
    }
    users[way] = credentials.username;
  }
  return users;
}
