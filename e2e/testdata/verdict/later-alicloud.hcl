auto_auth {
  method "alicloud" {
    mount_path = "auth/alicloud"
    config = {
      role   = "web"
      region = "eu-central-1"
    }
  }

  sink "file" {
    config = {
      path = "/run/web/token"
    }
  }
}
