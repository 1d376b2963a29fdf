# A function that gets its secrets through the layer. Before: make layer, and the
# function's zip.

terraform {
  required_version = ">= 1.3"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "vault_address" {
  description = "URL of Vault or OpenBao, as the function reaches it."
  type        = string
}

variable "function_zip" {
  description = "The function, for example that of samples/lambda/python with what it needs."
  type        = string
}

module "latchkey" {
  source = "../"

  zip          = "${path.module}/../../../dist/latchkey-extension-arm64.zip"
  architecture = "arm64"
  name         = "latchkey-extension-arm64"
}

data "aws_iam_policy_document" "lambda" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

# Its ARN is the bound_iam_principal_arn of the role in Vault. The login itself needs
# no permission: every identity may call sts:GetCallerIdentity.
resource "aws_iam_role" "function" {
  name_prefix        = "latchkey-sample-"
  assume_role_policy = data.aws_iam_policy_document.lambda.json
}

resource "aws_iam_role_policy_attachment" "logs" {
  role       = aws_iam_role.function.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
}

resource "aws_lambda_function" "sample" {
  function_name    = "latchkey-sample"
  role             = aws_iam_role.function.arn
  runtime          = "python3.13"
  architectures    = ["arm64"]
  handler          = "app.handler"
  filename         = var.function_zip
  source_code_hash = filebase64sha256(var.function_zip)
  memory_size      = 128
  timeout          = 10
  layers           = [module.latchkey.arn]

  environment {
    variables = {
      # Where latchkey goes. The function's own Vault client finds VAULT_ADDR.
      VLE_VAULT_ADDR      = var.vault_address
      VAULT_ADDR          = "http://127.0.0.1:8200"
      VAULT_AUTH_PROVIDER = "aws"
      VAULT_AUTH_ROLE     = "app"

      # As a file.
      VAULT_SECRET_PATH_DB = "secret/data/app"
      VAULT_SECRET_FILE_DB = "/tmp/vault/db.json"

      # As environment variables: the wrapper puts the values in place.
      AWS_LAMBDA_EXEC_WRAPPER = "/opt/latchkey-exec"
      DB_USERNAME             = "vault:secret/data/app#username"
      DB_PASSWORD             = "vault:secret/data/app#password"
    }
  }
}

output "role_arn" {
  description = "For bound_iam_principal_arn of the role in Vault."
  value       = aws_iam_role.function.arn
}
