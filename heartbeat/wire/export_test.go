package wire

// Sign is the signature of data with the signing entry, "<index> <hex>": it lets tests sign what Seal would not write.
func (k *Keys) Sign(data []byte) string {
	s := k.signing.borrow()
	defer s.release()
	return string(s.sign(data))
}

// SealRaw seals m with its auth fields as they are, in netstring form.
func SealRaw(k *Keys, m Message) string {
	body := appendNetstring(nil, m.fields)
	return string(appendElement(body, k.Sign(body)))
}
