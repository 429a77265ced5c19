module llmops.nexus/tests/cluster/pod

go 1.24.0
