module attempts

go 1.19
