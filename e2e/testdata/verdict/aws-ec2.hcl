auto_auth {
  method "aws" {
    mount_path = "auth/aws"
    config = {
      type = "ec2"
      role = "web"
      nonce = "8a1f"
    }
  }

  sink "file" {
    config = {
      path = "/run/web/token"
    }
  }
}
