auto_auth {
  method "approle" {
    config = {
      role_id_file_path = "/r"
    }
  }
{% for sink in sinks %}
  sink "file" {
    config = { path = "{{ sink }}" }
  }
{% endfor %}
}
