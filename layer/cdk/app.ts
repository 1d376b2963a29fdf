// A layer of your own and a function that uses it:
//
//	make layer
//	npm ci --prefix samples/lambda/node
//	cd layer/cdk && npm ci && VAULT_ADDR=https://vault.example.com:8200 npx aws-cdk deploy
import { App, CfnOutput, Duration, Stack } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Latchkey } from './latchkey.js';

const vaultAddress = process.env.VAULT_ADDR;
if (!vaultAddress) {
  throw new Error('set VAULT_ADDR to the URL of Vault or OpenBao, as the function reaches it');
}

const stack = new Stack(new App(), 'LatchkeySample');
const architecture = lambda.Architecture.ARM_64;

const latchkey = new Latchkey(stack, 'Latchkey', {
  asset: process.env.LATCHKEY_ZIP ?? '../../dist/latchkey-extension-arm64.zip',
  architecture,
  vaultAddress,
  role: 'app',
});

const sample = new lambda.Function(stack, 'Sample', {
  runtime: lambda.Runtime.NODEJS_22_X,
  architecture,
  handler: 'index.handler',
  code: lambda.Code.fromAsset('../../samples/lambda/node'),
  memorySize: 128,
  timeout: Duration.seconds(10),
});
latchkey.serve(
  sample,
  { DB: { path: 'secret/data/app', file: '/tmp/vault/db.json' } },
  {
    DB_USERNAME: 'vault:secret/data/app#username',
    DB_PASSWORD: 'vault:secret/data/app#password',
  },
);

new CfnOutput(stack, 'RoleArn', {
  description: 'For bound_iam_principal_arn of the role in Vault',
  value: sample.role!.roleArn,
});
