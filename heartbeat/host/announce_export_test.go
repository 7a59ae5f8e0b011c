package host

// The encoders, for tests that compare every byte.
var (
	ARPFrame      = arpFrame
	LinkSockaddr  = linkSockaddr
	Advertisement = advertisement
)
