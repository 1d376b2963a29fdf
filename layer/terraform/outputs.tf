output "arn" {
  description = "ARN of this version, for the layers of a function."
  value       = aws_lambda_layer_version.latchkey.arn
}
