import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';

export interface LatchkeyProps {
  /** The zip that make layer wrote, or the directory beside it. */
  readonly asset: string;
  /** What the zip is for. */
  readonly architecture: lambda.Architecture;
  /** URL of Vault or OpenBao, as the functions reach it. */
  readonly vaultAddress: string;
  /** Role of the auth method. */
  readonly role: string;
  /**
   * Path of the auth method, without auth/.
   * @default aws
   */
  readonly mount?: string;
}

/** A secret as a file. */
export interface SecretFile {
  /** Path in Vault, with data/ for KV version 2: secret/data/app. */
  readonly path: string;
  /** Where the function reads it: /tmp/vault/db.json. */
  readonly file: string;
}

/** The layer of the extension, and how functions are told to use it. */
export class Latchkey extends Construct {
  readonly layer: lambda.LayerVersion;

  constructor(scope: Construct, id: string, private readonly props: LatchkeyProps) {
    super(scope, id);
    this.layer = new lambda.LayerVersion(this, 'Layer', {
      code: lambda.Code.fromAsset(props.asset),
      compatibleArchitectures: [props.architecture],
      description: 'Secrets of Vault and OpenBao as files, environment variables and an API on localhost',
      license: 'Apache-2.0',
    });
  }

  /**
   * Gives a function the layer and the settings.
   * @param files secrets as files, by a name of your choice
   * @param environment secrets as environment variables: references like
   *   vault:secret/data/app#password
   */
  serve(fn: lambda.Function, files: Record<string, SecretFile> = {}, environment: Record<string, string> = {}): void {
    fn.addLayers(this.layer);
    // Where latchkey goes. The function's own Vault client finds VAULT_ADDR.
    fn.addEnvironment('VLE_VAULT_ADDR', this.props.vaultAddress);
    fn.addEnvironment('VAULT_ADDR', 'http://127.0.0.1:8200');
    fn.addEnvironment('VAULT_AUTH_PROVIDER', this.props.mount ?? 'aws');
    fn.addEnvironment('VAULT_AUTH_ROLE', this.props.role);
    for (const [name, secret] of Object.entries(files)) {
      fn.addEnvironment(`VAULT_SECRET_PATH_${name}`, secret.path);
      fn.addEnvironment(`VAULT_SECRET_FILE_${name}`, secret.file);
    }
    if (Object.keys(environment).length > 0) {
      fn.addEnvironment('AWS_LAMBDA_EXEC_WRAPPER', '/opt/latchkey-exec');
    }
    for (const [name, reference] of Object.entries(environment)) {
      fn.addEnvironment(name, reference);
    }
  }
}
