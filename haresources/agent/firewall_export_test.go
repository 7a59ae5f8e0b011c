package agent

import "context"

// Replayable says of how many changes the transaction of a ruleset consists, 0 when only nft can load it, and of how many
// rules.
func Replayable(ctx context.Context, env Environment, path string) (changes, rules int, err error) {
	c, err := compile(ctx, env, path)
	if err != nil {
		return 0, 0, err
	}
	return len(c.changes), c.rules, nil
}
