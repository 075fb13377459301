# What Terraform makes of the cluster: two namespaces, and what may be asked for in them. All else is Argo CD's, from git.
#   terraform -chdir=k8s/terraform init && terraform -chdir=k8s/terraform apply
terraform {
  required_version = ">= 1.9"
  required_providers {
    kubernetes = {
      source  = "hashicorp/kubernetes"
      version = "2.38.0"
    }
  }
}

provider "kubernetes" {
  config_path    = var.kubeconfig
  config_context = var.context
}

variable "kubeconfig" {
  description = "Kubeconfig of the cluster; K3s writes /etc/rancher/k3s/k3s.yaml"
  type        = string
  default     = "~/.kube/config"
}

variable "context" {
  description = "Its context, named so that nobody changes another cluster by habit"
  type        = string
}
