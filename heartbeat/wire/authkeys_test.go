package wire_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"hapair/heartbeat/fault"
	"hapair/heartbeat/wire"
)

const fine = "47e8b3d1c0ffee47e8b3d1c0ffee" // a secret that deserves no warning

// Each fault is written as line:col:severity: and a part of its message.
var authkeysTable = []struct {
	name, text string
	keys       string // Keys.String(), "" when refused
	faults     []string
}{
	{"usual", "auth 1\n1 sha1 " + fine + "\n", "1 sha1 (signs)", nil},
	{"no final newline", "auth 1\n1 sha1 " + fine, "1 sha1 (signs)", nil},
	{"DOS line ends", "auth 1\r\n1 sha1 " + fine + "\r\n", "1 sha1 (signs)", nil},
	{"tabs, indents, blanks behind", "\tauth\t1 \n \t1\tmd5\t" + fine + "\t \n\n", "1 md5 (signs)", nil},
	{"comments", "# auth 2\n  # x\nauth 1\n#1 crc\n1 sha1 " + fine + "\n", "1 sha1 (signs)", nil},
	{"# within the secret", "auth 1\n1 sha1 47e8#b3d1c0ffee\n", "1 sha1 (signs)", nil},
	{"index 0", "auth 0\n0 sha1 " + fine, "0 sha1 (signs)", nil},
	{"no 1", "auth 3\n2 md5 " + fine + "\n3 sha1 " + fine, "2 md5, 3 sha1 (signs)", nil},
	{"index with zero", "auth 01\n1 sha1 " + fine, "1 sha1 (signs)", nil},
	{"secret as long as a line may be", "auth 1\n1 sha1 " + strings.Repeat("k", 5000), "1 sha1 (signs)", nil},
	{"index glued, as Linux-HA reads it", "auth1\n1sha1 " + fine, "1 sha1 (signs)", nil},

	{"sha256", "auth 1\n1 sha256 " + fine, "1 hmac-sha256 (signs)", []string{"2:3:notice: Linux-HA does not know hmac-sha256"}},
	{"sha512", "auth 1\n1 hmac-sha512 " + fine, "1 hmac-sha512 (signs)", []string{"2:3:notice: Linux-HA does not know hmac-sha512"}},
	{"trailing comment", "auth 1 # sign\n1 sha1 " + fine + " # mine", "1 sha1 (signs)", []string{"2:37:notice: ignored"}},

	{"crc", "auth 1\n1 crc\n", "1 crc (signs)", []string{"2:0:warning: crc is a checksum, not a signature"}},
	{"crc unused", "auth 2\n1 crc\n2 sha1 " + fine, "1 crc, 2 sha1 (signs)", []string{"2:0:warning: a crc key accepts what anyone sends"}},
	{"crc and comment", "auth 1\n1 crc  # none\n", "1 crc (signs)", []string{"2:0:warning: crc is", "2:8:warning: crc uses no secret"}},
	{"crc and slashes", "auth 1\n1 crc //none\n", "1 crc (signs)", []string{"2:0:warning: crc is", "2:7:warning: crc uses no secret"}},
	{"crc and secret", "auth 1\n1 crc " + fine, "1 crc (signs)", []string{"2:0:warning: crc is", "2:7:warning: crc uses no secret"}},
	{"auth below the key", "1 sha1 " + fine + "\nauth 1\n", "1 sha1 (signs)", []string{"2:6:warning: `auth 1` stands below its key"}},
	{"auth between definitions", "1 sha1 " + fine + "\nauth 1\n1 md5 " + fine, "1 md5 (signs)", []string{"3:1:warning: key 1 stands in line 1 already"}},
	{"auth twice", "auth 1\nauth 2\n1 md5 " + fine + "\n2 sha1 " + fine, "1 md5, 2 sha1 (signs)", []string{"2:1:warning: `auth` stands in line 1 already"}},
	{"all on one line", "auth 3 3 md5 " + fine, "3 md5 (signs)", []string{"1:8:warning: a key on the same line as `auth`"}},
	{"words after auth", "auth 1 please\n1 sha1 " + fine, "1 sha1 (signs)", []string{"1:8:warning: what follows the index is ignored"}},
	{"semicolon after auth", "auth 1;\n1 sha1 " + fine, "1 sha1 (signs)", []string{"1:6:warning: what is glued to the index"}},
	{"auth in capitals", "AUTH 1\n1 sha1 " + fine, "1 sha1 (signs)", []string{`1:1:warning: Linux-HA knows no "AUTH"`}},
	{"method in capitals", "auth 1\n1 SHA1 " + fine, "1 sha1 (signs)", []string{"2:3:warning: Linux-HA knows methods in small letters only"}},
	{"secret with blanks", "auth 1\n1 sha1 47e8b3d1c0ffee with blanks\n", "1 sha1 (signs)", []string{"2:23:warning: the secret ends at the blank, as in Linux-HA: only its first 14 bytes"}},
	{"secret in quotes", "auth 1\n1 sha1 \"47e8b3d1c0ffee\"\n", "1 sha1 (signs)", []string{"2:8:warning: the quotes are part of the secret"}},
	{"blanks in quotes", "auth 1\n1 sha1 '47e8b3d1c0ffee x'", "1 sha1 (signs)", []string{"2:8:warning: the quotes are part", "2:24:warning: the secret ends at the blank"}},
	{"comment for a secret", "auth 1\n1 sha1 # later\n", "1 sha1 (signs)", []string{"2:8:warning: a # begins no comment here"}},
	{"openssl's recipe", "auth 1\n1 sha1 (stdin)= 47e8b3d1c0ffee47e8b3d1c0ffee\n", "1 sha1 (signs)", []string{"2:8:warning: the secret is the word `(stdin)=`"}},
	{"openssl 3's recipe", "auth 1\n1 sha1 MD5(stdin)= 47e8b3d1c0ffee47e8b3d1c0ffee\n", "1 sha1 (signs)", []string{"2:8:warning: the secret is the word `MD5(stdin)=`"}},
	{"stock secret", "auth 1\n1 sha1 HI!\n", "1 sha1 (signs)", []string{"2:8:warning: this secret is in examples"}},
	{"stock secret, quoted", "auth 1\n1 md5 'Hello!'\n", "1 md5 (signs)", []string{"2:7:warning: this secret is in examples", "2:7:warning: the quotes"}},
	{"stock digest", "auth 1\n1 sha1 47e9336850f1db6fa58bc470bc9b7810eb397f04\n", "1 sha1 (signs)", []string{"2:8:warning: this secret is in examples"}},
	{"short secret", "auth 1\n1 sha1 Xy7$pQ!\n", "1 sha1 (signs)", []string{"2:8:warning: a secret of 7 bytes can be guessed"}},
	{"index twice", "auth 1\n1 sha1 " + fine + "\n1 md5 " + fine, "1 md5 (signs)", []string{"3:1:warning: key 1 stands in line 2 already"}},
	{"byte-order mark", "\ufeffauth 1\n1 sha1 " + fine, "1 sha1 (signs)", []string{"1:1:warning: begins with a byte-order mark"}},

	{"empty", "", "", []string{"0:0:error: no key"}},
	{"comments only", "# nothing\n", "", []string{"0:0:error: no key"}},
	{"no auth", "2 sha1 " + fine, "", []string{"0:0:error: no `auth` line"}},
	{"no keys", "auth 1\n", "", []string{"1:0:error: no key"}},
	{"key missing", "auth 2\n1 sha1 " + fine, "", []string{"1:6:error: `auth 2` names a key that is not there"}},
	{"auth alone", "auth\n1 sha1 " + fine, "", []string{"1:1:error: `auth` does not say which"}},
	{"auth no number", "auth one\n1 sha1 " + fine, "", []string{"1:6:error: `auth` is not followed by the index"}},
	{"auth 16", "auth 16\n1 sha1 " + fine, "", []string{"1:6:error: `auth` is not followed by the index"}},
	{"auth huge", "auth 99999999999999999999\n1 sha1 " + fine, "", []string{"1:6:error: `auth` is not followed by the index"}},
	{"other word with a", "auht 1\n1 sha1 " + fine, "", []string{"1:1:error: \"auht\" is neither"}},
	{"index 16", "auth 1\n1 sha1 " + fine + "\n16 sha1 x", "", []string{"3:1:error: no key can have this index"}},
	{"index negative", "auth 1\n1 sha1 " + fine + "\n-1 sha1 x", "", []string{"3:1:error: no key can have this index"}},
	{"index only", "auth 1\n1\n", "", []string{"2:1:error: key 1 has no method"}},
	{"no index", "auth 1\nsha1 x\n", "", []string{"2:1:error: the line begins with neither"}},
	{"no secret", "auth 1\n1 sha1\n", "", []string{"2:3:error: method sha1 needs a secret"}},
	{"glued", "auth 1\n1 sha1" + fine, "", []string{"2:7:error: unknown method: is the secret glued to sha1?"}},
	{"glued to a long name", "auth 1\n1 sha512" + fine, "", []string{"2:9:error: unknown method: is the secret glued to sha512?"}},
	{"typing error", "auth 1\n1 sah1 " + fine, "", []string{`2:3:error: unknown method "sah1"`}},
	{"no method", "auth 1\n1 " + fine, "", []string{"2:3:error: unknown method"}},
	{"conflict", "<<<<<<< HEAD\nauth 1\n=======\nauth 2\n>>>>>>> x\n1 sha1 " + fine + "\n2 sha1 " + fine, "",
		[]string{"1:1:error: this is a merge conflict", "3:1:error: this is", "4:1:warning: `auth` stands in line 2", "5:1:error: this is"}},
	{"line too long", "auth 1\n1 sha1 " + strings.Repeat("k", 6000), "", []string{"2:5120:error: line longer than 5119 bytes"}},
	{"NUL", "auth 1\n1 sha1 a\x00b", "", []string{"2:0:error: holds a NUL byte"}},
	{"far too long", strings.Repeat("# x\n", 20000), "", []string{"0:0:error: longer than 65536 bytes"}},
	{"several at once", "auth 7\n1 sha2 x\n2 md5\n3 crc x\n", "", []string{`2:3:error: unknown method "sha2"`, "3:3:error: method md5 needs", "4:0:warning: a crc key", "4:7:warning: crc uses"}},
}

func TestReadKeys(t *testing.T) {
	for _, tt := range authkeysTable {
		t.Run(tt.name, func(t *testing.T) {
			keys, faults := wire.ReadKeys("/etc/ha.d/authkeys", strings.NewReader(tt.text))
			var got []string
			for _, f := range faults {
				got = append(got, fmt.Sprintf("%d:%d:%v: %s", f.Line, f.Col, f.Severity, f.Message))
				if f.File != "/etc/ha.d/authkeys" {
					t.Errorf("fault without its file: %v", f)
				}
			}
			if !slices.EqualFunc(got, tt.faults, strings.HasPrefix) {
				t.Errorf("faults\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.faults, "\n"))
			}
			if (keys == nil) != (faults.Worst() == fault.Error) {
				t.Fatalf("keys %v with %v", keys, faults)
			}
			if keys != nil && keys.String() != tt.keys || keys == nil && tt.keys != "" {
				t.Errorf("keys %v, want %s", keys, tt.keys)
			}
		})
	}
}

// Whatever is wrong, no fault and no rendering of the keys may carry the secret into a log.
func TestFaultsKeepSecrets(t *testing.T) {
	const secret = "Tr0ub4dor&3zzz"
	for _, text := range []string{
		"auth 1\n1 sha1 " + secret, "auth 1\n1 sha1" + secret, "auth 1\n1 " + secret, "auth 1\n" + secret, "auth " + secret,
		secret, "a" + secret, "auth 1\n1 crc " + secret, "auth 1\n1 sha1 '" + secret + " x'", "auth 1\n1 sha1 x " + secret, "1 sha1 #" + secret,
		"auth 1 1 sha1 " + secret, "auth 1" + secret,
	} {
		keys, faults := wire.ReadKeys("authkeys", strings.NewReader(text))
		shown := faults.Error()
		if keys != nil {
			shown += fmt.Sprintf("%v %+v %#v %s", keys, keys, keys, keys)
		}
		if strings.Contains(shown, secret[4:]) {
			t.Errorf("%q is shown in %s", secret, shown)
		}
	}
}

func TestReadKeysReportsReadErrors(t *testing.T) {
	keys, faults := wire.ReadKeys("authkeys", iotest.ErrReader(errors.New("input/output error")))
	if keys != nil || !strings.Contains(faults.Error(), "authkeys: error: read: input/output error") {
		t.Errorf("%v, %v", keys, faults)
	}
}

// What Linux-HA cuts, both nodes must cut.
func TestSecretEndsAtTheBlank(t *testing.T) {
	whole := keysOf(t, "auth 3\n3 sha1 Key for sha1 with spaces\n")
	cut := keysOf(t, "auth 3\n3 sha1 Key\n")
	if _, err := cut.Open(whole.Seal(nil, heartbeat(), wire.Classic)); err != nil {
		t.Error(err)
	}
}

func TestKeysDescribeThemselves(t *testing.T) {
	keys := keysOf(t, "auth 2\n1 crc\n2 md5 "+fine+"\n4 sha256 "+fine)
	if index, method := keys.Signing(); index != 2 || method != "md5" {
		t.Errorf("signs with %d %s", index, method)
	}
	want := []wire.Method{
		{Index: 1, Name: "crc", LinuxHA: true},
		{Index: 2, Name: "md5", Signs: true, Keyed: true, LinuxHA: true},
		{Index: 4, Name: "hmac-sha256", Keyed: true},
	}
	if got := keys.Methods(); !slices.Equal(got, want) {
		t.Errorf("methods %+v, want %+v", got, want)
	}
}

func TestKeysEqual(t *testing.T) {
	a := "auth 1\n1 sha1 " + fine
	for text, want := range map[string]bool{
		a:                              true,
		"# other\nauth 1\n\n" + a[7:]:  true,
		a + "x":                        false,
		a + "\n2 md5 " + fine:          false,
		"auth 1\n1 md5 " + fine:        false,
		"auth 2\n2 sha1 " + fine:       false,
		"auth 1\n1 sha256 " + fine:     false,
		"auth 1\n1 sha1 " + fine[1:]:   false,
		"auth 1\n1 crc\n2 md5 " + fine: false,
	} {
		if got := keysOf(t, a).Equal(keysOf(t, text)); got != want {
			t.Errorf("%q: equal is %v", text, got)
		}
	}
	var none *wire.Keys
	if !none.Equal(nil) || none.Equal(keysOf(t, a)) || keysOf(t, a).Equal(nil) {
		t.Error("no keys equal some keys")
	}
}
