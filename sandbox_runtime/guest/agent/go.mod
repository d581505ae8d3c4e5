module bulkhead/agent

go 1.19
