auto_auth {
  method "gcp" {
    mount_path = "auth/gcp"
    config = {
      type            = "iam"
      role            = "web"
      service_account = "web@project.iam.gserviceaccount.com"
    }
  }

  sink "file" {
    config = {
      path = "/run/web/token"
    }
  }
}
