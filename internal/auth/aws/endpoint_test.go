package aws

import (
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func TestEndpointsAreThoseOfTheSDK(t *testing.T) {
	resolver := sts.NewDefaultEndpointResolverV2()
	for _, region := range []string{
		"us-east-1", "us-west-2", "eu-central-1", "ap-southeast-7", "il-central-1", "cn-north-1", "cn-northwest-1", "us-gov-west-1", "us-gov-east-1",
		"us-iso-east-1", "us-isob-east-1", "us-isof-south-1", "eu-isoe-west-1", "eusc-de-east-1",
	} {
		for name, env := range map[string][]string{
			"plain": nil, "fips": {"AWS_USE_FIPS_ENDPOINT=true"}, "dual": {"AWS_USE_DUALSTACK_ENDPOINT=TRUE"},
			"both": {"AWS_USE_FIPS_ENDPOINT=true", "AWS_USE_DUALSTACK_ENDPOINT=true"},
		} {
			s := Settings{Environ: environ(env...)}
			theirs, err := resolver.ResolveEndpoint(t.Context(), sts.EndpointParameters{
				Region: &region, UseFIPS: sdk.Bool(s.is("AWS_USE_FIPS_ENDPOINT")), UseDualStack: sdk.Bool(s.is("AWS_USE_DUALSTACK_ENDPOINT")), UseGlobalEndpoint: sdk.Bool(false),
			})
			if err != nil {
				continue // there is none of this kind
			}
			ours := s.endpoint("", region)
			if strings.TrimSuffix(ours.url, "/") != theirs.URI.String() || ours.region != region {
				t.Errorf("%s, %s: %+v, the SDK has %s", region, name, ours, theirs.URI.String())
			}
		}
	}
}

func TestWithoutARegionTheGlobalEndpointIsSignedFor(t *testing.T) {
	global := endpoint{"https://sts.amazonaws.com/", "us-east-1"}
	for name, tc := range map[string]struct {
		explicit, region string
		env              []string
		want             endpoint
	}{
		"nothing":                 {want: global},
		"somewhere":               {env: []string{"AWS_REGION=eu-central-1"}, want: global},
		"in China":                {env: []string{"AWS_REGION=cn-north-1"}, want: endpoint{"https://sts.cn-north-1.amazonaws.com.cn/", "cn-north-1"}},
		"in a government's":       {env: []string{"AWS_DEFAULT_REGION=us-gov-west-1"}, want: endpoint{"https://sts.us-gov-west-1.amazonaws.com/", "us-gov-west-1"}},
		"an endpoint":             {explicit: "https://vpce.example.com", want: endpoint{"https://vpce.example.com/", "us-east-1"}},
		"an endpoint in a region": {explicit: "https://vpce.example.com/", region: "eu-west-1", want: endpoint{"https://vpce.example.com/", "eu-west-1"}},
		"an endpoint in China":    {explicit: "https://vpce.example.com/", env: []string{"AWS_REGION=cn-north-1"}, want: endpoint{"https://vpce.example.com/", "cn-north-1"}},
		"of the SDK":              {env: []string{"AWS_ENDPOINT_URL_STS=http://a", "AWS_ENDPOINT_URL=http://b"}, want: endpoint{"http://a/", "us-east-1"}},
		"of all services":         {env: []string{"AWS_ENDPOINT_URL=http://b"}, want: endpoint{"http://b/", "us-east-1"}},
		"of all, to be ignored":   {env: []string{"AWS_ENDPOINT_URL=http://b", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true"}, want: global},
		"ours before the SDK's":   {explicit: "http://c", env: []string{"AWS_ENDPOINT_URL_STS=http://a"}, want: endpoint{"http://c/", "us-east-1"}},
		"fips":                    {env: []string{"AWS_USE_FIPS_ENDPOINT=true", "AWS_REGION=us-west-2"}, want: endpoint{"https://sts-fips.us-west-2.amazonaws.com/", "us-west-2"}},
	} {
		if got := (Settings{Environ: environ(tc.env...)}).endpoint(tc.explicit, tc.region); got != tc.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
