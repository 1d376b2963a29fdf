auto_auth {
  method "gcp" {
    mount_path = "auth/gcp"
    config = {
      type = "gce"
      role = "web"
    }
  }

  sink "file" {
    config = {
      path = "/run/web/token"
    }
  }
}
