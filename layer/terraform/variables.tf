variable "zip" {
  description = "The zip that make layer wrote, for example dist/latchkey-extension-arm64.zip."
  type        = string
}

variable "architecture" {
  description = "What the zip is for: x86_64 (the zip named amd64) or arm64."
  type        = string
  default     = "arm64"

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "The architecture is x86_64 or arm64, as Lambda names them."
  }
}

variable "name" {
  description = "Name of the layer."
  type        = string
  default     = "latchkey-extension"
}

variable "keep_old_versions" {
  description = "Leave a version where it is when another one takes its place: functions that were not deployed again still use it."
  type        = bool
  default     = true
}

variable "accounts" {
  description = "Ids of other accounts that may use the layer."
  type        = set(string)
  default     = []
}
