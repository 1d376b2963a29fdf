# One zip as a Lambda layer of this account and region. For both architectures use
# the module twice.

resource "aws_lambda_layer_version" "latchkey" {
  layer_name               = var.name
  description              = "Secrets of Vault and OpenBao as files, environment variables and an API on localhost"
  filename                 = var.zip
  source_code_hash         = filebase64sha256(var.zip)
  compatible_architectures = [var.architecture]
  license_info             = "Apache-2.0"
  skip_destroy             = var.keep_old_versions
}

resource "aws_lambda_layer_version_permission" "account" {
  for_each = var.accounts

  layer_name     = aws_lambda_layer_version.latchkey.layer_name
  version_number = aws_lambda_layer_version.latchkey.version
  statement_id   = "account-${each.value}"
  action         = "lambda:GetLayerVersion"
  principal      = each.value
}
