"""What tests build from: plug-ins, documents, running servers."""
